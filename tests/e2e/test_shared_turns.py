"""Shared first turns from end to end: fewer calls, and no other reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import foresight
from foresight_services.cli.embedded import embedded_client
from foresight_services.config import load_config
from tests.e2e.stage import MODELS, REQUEST, play
from tests.fakes.openai_server import openai_server

pytestmark = pytest.mark.e2e

GAME: dict[str, Any] = {
    "task": {"preset": "twenty_questions", "goal": "dog"},
    "prefix": [{"role": "user", "content": "I'm thinking of a thing. You have 7 turns."}],
    "candidates": ["Is it alive?", "Is it a violin?"],
    "simulation": {"horizon_messages": 6, "samples": {"max": 5}, "seed": 7},
    "include_futures": True,
}


def sampled(request: dict[str, Any], most: int) -> dict[str, Any]:
    """Return `request` for so many samples."""
    return request | {"simulation": request["simulation"] | {"samples": {"max": most}}}


def messages(rewards: foresight.Rewards) -> list[list[Any]]:
    return [[future.messages for future in reward.futures] for reward in rewards]


def user_calls(rewards: foresight.Rewards) -> list[int]:
    return [reward.usage.models["user"].calls for reward in rewards]


async def test_rules_play_equal_futures_whoever_shares_a_call(tmp_path: Path) -> None:
    async with embedded_client(load_config(None, {})) as client:
        whole = await client.send(GAME)
    async with embedded_client(load_config(None, {})) as client:
        part = await client.send(sampled(GAME, 3))
        rest = await client.send(GAME)
    assert messages(rest) == messages(whole)
    assert messages(part) == [futures[:3] for futures in messages(whole)]
    assert rest.values == whole.values
    # Samples 0 to 2 came from the cache; 3 and 4 shared a call of their own.
    turns = [
        sum(message.role == "user" for message in future.messages)
        for reward in whole
        for future in reward.futures
    ]
    assert sum(user_calls(whole)) == sum(turns) - 2 * 4
    new = sum(turns[3:5]) + sum(turns[8:10])
    assert sum(user_calls(rest)) == new - 2 * 1


async def test_a_server_is_asked_once_for_the_first_turns_of_a_candidate(tmp_path: Path) -> None:
    request = REQUEST | {
        "simulation": REQUEST["simulation"] | {"personas": ["terse_texter"]},
        "include_futures": True,
    }
    async with openai_server(play) as server:
        file = tmp_path / "foresight.yaml"
        file.write_text(MODELS.format(url=server.base_url))
        async with embedded_client(load_config(file, {})) as client:
            rewards = await client.send(request)
    assert None not in rewards.values
    users = [call for call in server.calls if call.model == "the-user"]
    assert sorted(call.body.get("n", 1) for call in users) == [1] * 6 + [3, 3]
    assert user_calls(rewards) == [4, 4]
