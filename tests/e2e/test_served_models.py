"""Served models from the configuration file on: embedded, over gRPC, published, priced, refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import foresight
from foresight_services.cli.embedded import embedded_client
from foresight_services.config import load_config
from tests.e2e.stage import REQUEST, play
from tests.fakes.openai_server import Call, OpenAIServer, Reply, Script, error, openai_server
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

CONFIG = """
models:
  policy: {{backend: openai, base_url: "{url}", model: the-policy, temperature: 0.8,
            price: {{input: 1, output: 2}}}}
  user: {{backend: openai, base_url: "{url}", model: the-user}}
  judge: {{backend: openai, base_url: "{url}", model: the-judge, temperature: 0}}
"""

ASKED: dict[str, Any] = {
    **REQUEST,
    "objective": {"metrics": [{"name": "success"}, {"name": "token_amount", "weight": -0.5}]},
    "include_futures": True,
}


@asynccontextmanager
async def services(tmp_path: Path, script: Script) -> AsyncIterator[tuple[Any, OpenAIServer]]:
    async with openai_server(script) as server:
        file = tmp_path / "foresight.yaml"
        file.write_text(CONFIG.format(url=server.base_url))
        async with embedded_client(load_config(file, {})) as client:
            yield client, server


async def test_served_models_play_every_part(tmp_path: Path) -> None:
    async with services(tmp_path, play) as (client, server):
        rewards = await client.send(ASKED)
        assert [reward.metrics["success"].mean for reward in rewards] == [0.75, 0.75]
        future = rewards[0].futures[0]
        assert [message.role for message in future.messages] == ["user", "assistant"] * 2
        assert future.messages[0].content.startswith("two and two (")
        assert future.messages[1].content.startswith("It is 4, says the-policy")
        assert future.persona
        # Candidates of one sample meet the same user, with the same draws.
        assert rewards[1].futures[0].persona == future.persona
        assert rewards[1].futures[0].messages[0] == future.messages[0]
        asked = [call for call in server.calls if call.model == "the-policy"]
        assert len(asked) == 2 * 3 * 2
        assert not any(REQUEST["task"]["goal"] in call.prompt for call in asked)
        policy = rewards.usage.models["policy"]
        assert policy.calls == 12
        assert policy.dollars == pytest.approx(
            (policy.prompt_tokens + 2 * policy.completion_tokens) / 1e6
        )


async def test_equal_requests_get_equal_rewards(tmp_path: Path) -> None:
    async with services(tmp_path, play) as (client, _):
        first, second = await client.send(ASKED), await client.send(ASKED)
        assert first.values == second.values
        assert first[0].futures[1].messages == second[0].futures[1].messages


async def test_a_published_version_plays_and_is_named(tmp_path: Path) -> None:
    async with services(tmp_path, play) as (client, _), openai_server(play) as newer:
        await client.publish_policy(name="policy", version=3, endpoint=newer.base_url)
        rewards = await client.send(ASKED)
        assert {future.policy.version for reward in rewards for future in reward.futures} == {3}
        assert len(newer.calls) == 2 * 3 * 2


async def test_an_unknown_model_is_told_once_and_not_stormed(tmp_path: Path) -> None:
    def script(call: Call) -> Any:
        if call.model == "the-policy":
            return error(404, "The model `the-policy` does not exist.", code="model_not_found")
        return play(call)

    async with services(tmp_path, script) as (client, server):
        rewards = await client.send(ASKED)
        assert rewards.values == [None, None]
        for reward in rewards:
            assert isinstance(reward.futures[0].error, foresight.ModelRejectedError)
        assert len([call for call in server.calls if call.model == "the-policy"]) == 2 * 3


async def test_a_budget_stops_before_it_is_passed(tmp_path: Path) -> None:
    async with services(tmp_path, play) as (client, server):
        rewards = await client.send(ASKED | {"budget": {"max_tokens": 500}})
        assert rewards.values == [None, None]
        assert isinstance(rewards[0].error, foresight.BudgetExhaustedError)
        assert server.calls == []


async def test_a_flaky_server_costs_time_and_no_reward(tmp_path: Path) -> None:
    def script(call: Call) -> Any:
        return error(503, "busy") if call.number % 5 == 0 else play(call)

    async with services(tmp_path, script) as (client, server):
        rewards = await client.send(ASKED)
        assert [reward.status for reward in rewards] == ["complete", "complete"]
        retried = sum(model.retries for model in rewards.usage.models.values())
        assert retried == sum(call.number % 5 == 0 for call in server.calls) > 0


async def test_a_cancelled_call_hangs_up_on_its_models(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def script(call: Call) -> Reply:
        await never.wait()
        return play(call)

    async with services(tmp_path, script) as (client, server):
        asking = asyncio.ensure_future(client.send(ASKED))
        await eventually(lambda: len(server.calls) == 2 * 3)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        for call in server.calls:
            await asyncio.wait_for(call.ended.wait(), timeout=30)
        assert {call.outcome for call in server.calls} == {"cancelled"}
