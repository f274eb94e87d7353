"""From sections of the configuration to models."""

from __future__ import annotations

import sys

import pytest

from foresight_services.config.evaluator import BertScoreConfig, RewardModelConfig
from foresight_services.core.errors import InvalidInput, Precondition, Reason
from foresight_services.reward_models.opening import open_bertscore, open_reward_model
from tests.fakes.classifier_server import classifier_server
from tests.fakes.evaluation import evaluation_setup, subject_of
from tests.fakes.virtual_time import LoopClock
from tests.unit.reward_models.test_vllm_model import TALK

VARIABLE = "FORESIGHT_TEST_REWARD_KEY"


async def test_a_server_is_asked_as_the_section_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sk-1")
    async with classifier_server(lambda call: -1.5) as server:
        config = RewardModelConfig(
            backend="vllm", model="rm", base_url=server.base_url, api_key_env=VARIABLE
        )
        model = open_reward_model("helpful", config, clock=LoopClock())
        await model.prepare()
        assert await model.score(TALK, subject_of(evaluation_setup())) == -1.5
        await model.aclose()
    assert [call.headers["authorization"] for call in server.calls] == ["Bearer sk-1"] * 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"base_url": None}, "evaluator.reward_models.helpful.base_url"),
        ({"api_key_env": VARIABLE}, "evaluator.reward_models.helpful.api_key_env"),
    ],
)
def test_a_section_that_cannot_be_used(fields, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    given = {"backend": "vllm", "model": "rm", "base_url": "http://127.0.0.1:1", **fields}
    with pytest.raises(InvalidInput) as raised:
        open_reward_model("helpful", RewardModelConfig(**given), clock=LoopClock())
    assert raised.value.violations[0].field == field


async def test_models_in_this_process_need_their_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, library, None)
    torch = RewardModelConfig(backend="torch", model="/nowhere")
    encoder = BertScoreConfig(model="/nowhere", layers=2)
    for model, metric, extra in (
        (open_reward_model("helpful", torch, clock=LoopClock()), "rm_score", "reward-model"),
        (open_bertscore(encoder), "bertscore", "bertscore"),
    ):
        with pytest.raises(Precondition) as raised:
            await model.prepare()
        await model.aclose()
        assert raised.value.reason is Reason.METRIC_UNAVAILABLE
        assert raised.value.metadata == {"metric": metric, "needs": f"foresight[{extra}]"}
