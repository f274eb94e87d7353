"""Counting messages."""

from __future__ import annotations

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.future import EvaluationItem, FutureId
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.usage import Ledger
from foresight_services.metrics.messages import Messages
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import evaluation_setup


@pytest.mark.parametrize("length", [0, 1, 4])
async def test_the_candidate_and_every_message_after_it_count(length: int) -> None:
    metric = Messages(MetricSpec("messages"), evaluation_setup("messages"), ScriptedChat(""))
    future = (Message("user", "more"), Message("assistant", "here")) * 2
    item = EvaluationItem(FutureId(1, 0), "goal", future[:length])
    assert await metric.score(item, Ledger()) == 1.0 + length


@pytest.mark.parametrize("horizon", [0, 4, 64])
def test_the_range_follows_the_horizon(horizon: int) -> None:
    setup = evaluation_setup("messages", horizon_messages=horizon)
    metric = Messages(MetricSpec("messages"), setup, ScriptedChat(""))
    assert metric.info.range == Range(1.0, 1.0 + horizon)
