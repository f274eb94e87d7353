"""Parts of the smaller benchmarks: what Redis counts, models that answer at once, headlines."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from bench.adaptive.__main__ import HEADLINES, headlines
from bench.adaptive.replay import Outcome
from bench.instant_models import model_server
from bench.redis_use import from_info


def test_what_redis_did_is_counted_by_future() -> None:
    before = {
        "total_commands_processed": 100,
        "used_cpu_user": 1.0,
        "used_cpu_sys": 0.5,
        "total_net_input_bytes": 1000,
        "total_net_output_bytes": 500,
        "used_memory": 10_000,
    }
    after = {
        "total_commands_processed": 400,
        "used_cpu_user": 1.25,
        "used_cpu_sys": 0.75,
        "total_net_input_bytes": 6000,
        "total_net_output_bytes": 1500,
        "used_memory": 30_000,
    }
    assert from_info(after).since(from_info(before), 10) == pytest.approx(
        {
            "redis_commands_per_future": 30,
            "redis_cpu_ms_per_future": 50,
            "redis_bytes_in_per_future": 500,
            "redis_bytes_out_per_future": 100,
            "redis_memory_bytes_per_future": 2000,
        }
    )


async def test_models_that_answer_at_once_keep_to_schema_and_number() -> None:
    async with model_server() as base_url, aiohttp.ClientSession() as session:

        async def ask(**fields: object) -> list[str]:
            body: dict[str, Any] = {
                "model": "bench",
                "messages": [{"role": "user", "content": "?"}],
            }
            async with session.post(f"{base_url}/chat/completions", json=body | fields) as answer:
                choices = (await answer.json())["choices"]
            assert [choice["index"] for choice in choices] == list(range(len(choices)))
            return [choice["message"]["content"] for choice in choices]

        (plain,) = await ask()
        assert len(plain.split()) == 60
        schema: dict[str, object] = {
            "json_schema": {"properties": {"thought": {}, "message": {}, "done": {}}}
        }
        users = await ask(response_format=schema, n=3)
        assert len(set(users)) == 3
        assert all(json.loads(said).keys() == {"thought", "message", "done"} for said in users)
        (verdict,) = await ask(response_format={"json_schema": {"properties": {"accuracy": {}}}})
        assert json.loads(verdict)["accuracy"] == 1


def test_the_headlines_are_the_rows_that_are_named() -> None:
    best = {
        groups: {"adaptive": {name: {"calls": 40.0 + i, "fixed_calls": 100.0}, "other": {}}}
        for i, (groups, name) in enumerate(HEADLINES.items())
    }
    found = headlines(best)
    assert list(found) == list(HEADLINES)
    assert [row["adaptive"] for row in found.values()] == [40.0, 41.0, 42.0]
    assert {row["fixed"] for row in found.values()} == {100.0}


def test_up_to_a_slack_whoever_is_within_it_of_the_best_is_right() -> None:
    outcome = Outcome(counts=(1, 1), calls=2, ranking=(1, 0), confidence=0.5)
    assert not outcome.right((0.55, 0.5), "best")
    assert outcome.right((0.55, 0.5), "best", slack=0.05)
    assert not outcome.right((0.56, 0.5), "best", slack=0.05)
    assert outcome.right((0.5, 0.5), "best")
