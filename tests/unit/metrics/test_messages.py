"""Counting messages."""

from __future__ import annotations

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.future import Direction
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.metrics.messages import DEFINITION
from tests.fakes.subjects import built, setup_for, subject_of

SPEC = MetricSpec("messages")
FUTURE = (Message("user", "more"), Message("assistant", "here")) * 2


@pytest.mark.parametrize("length", [0, 1, 4])
async def test_the_candidate_and_every_message_after_it_count(length: int) -> None:
    setup = setup_for(SPEC)
    metric = await built(DEFINITION, setup)
    score = await metric.score(subject_of(setup, FUTURE[:length]))
    assert score.value == 1.0 + length


@pytest.mark.parametrize("horizon", [0, 4, 64])
async def test_the_range_follows_the_horizon(horizon: int) -> None:
    info = (await built(DEFINITION, setup_for(SPEC, horizon_messages=horizon))).info
    assert info.range == Range(1.0, 1.0 + horizon)
    assert (info.unit, info.direction) == ("messages", Direction.LESS)
