"""The arithmetic of the capacity model, on numbers that can be checked by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity import Costs, Demand, Limits, size
from bench.sizing import costs_of, table

COSTS = Costs(
    reward_ms=2.0,
    turn_ms=0.5,
    verdict_ms=1.0,
    future_kib=32.0,
    idle_mib=112.0,
    redis_ms=0.25,
    redis_commands=30.0,
    redis_kib=8.0,
    redis_memory_kib=4.0,
    network_kib=64.0,
    cached_per_second=5_000.0,
)
DEMAND = Demand(
    gpus=10, tokens_per_second=10_000, message_tokens=250, calls_at_once=200, kept_seconds=1024
)


def test_the_policys_calls_limit_the_rate() -> None:
    # 10 GPUs answer 400 calls/s; a future of 4 messages has 2 of the policy, 2 of the user.
    found = size(DEMAND, COSTS, Limits())
    assert found.futures_per_second == 200
    assert found.groups_per_second == pytest.approx(200 / 24)
    assert found.calls_per_second == {"policy": 400, "user": 400, "judge": 400}
    # A user speaks first, so that an odd message is the user's.
    odd = size(replace(DEMAND, horizon=3), COSTS, Limits())
    assert odd.futures_per_second == 400
    assert odd.calls_per_second == {"policy": 400, "user": 800, "judge": 800}


def test_gpus_that_serve_more_roles_allow_fewer_futures() -> None:
    every = size(replace(DEMAND, served=("policy", "user", "judge")), COSTS, Limits())
    assert every.futures_per_second == pytest.approx(400 / 6)
    with pytest.raises(ValueError, match="nothing to do"):
        size(replace(DEMAND, horizon=1), COSTS, Limits())


def test_futures_in_flight_are_rate_times_duration() -> None:
    # 200 calls at once of 40/s each are 5 s a call, and 20 s a future.
    found = size(DEMAND, COSTS, Limits())
    assert DEMAND.call_seconds == 5
    assert found.in_flight == 4000
    assert found.loads["simulator places"] == pytest.approx(4000 / 8192)
    assert found.simulator_mib == pytest.approx(4000 * 32 / 1024 + 112)
    assert found.loads["simulator memory"] == pytest.approx(125 / (512 - 112))


def test_cores_follow_the_costs_of_a_future() -> None:
    found = size(DEMAND, COSTS, Limits(busy=0.5))
    assert found.cores == pytest.approx(
        {"reward": 0.4, "simulator": 0.4, "evaluator": 0.4, "Redis": 0.05}
    )
    assert found.loads["reward CPU"] == pytest.approx(0.8)
    assert found.redis_commands_per_second == 6000
    assert found.redis_mb_per_second == pytest.approx(200 * 8192 / 1e6)
    assert found.redis_gib == pytest.approx(200 * 1024 * 4 / 2**20)
    assert found.network_mb_per_second == pytest.approx(200 * 65536 / 1e6)


def test_cached_rewards_come_on_top() -> None:
    # As many again as are computed: 200 futures/s are 66.7 rewards/s.
    half = size(replace(DEMAND, cached_share=0.5), COSTS, Limits())
    assert half.cores["reward"] == pytest.approx(0.4 + 200 / 3 / 5000)


def test_replicas_hold_what_runs_out_first() -> None:
    found = size(replace(DEMAND, gpus=100), COSTS, Limits(busy=0.5))
    assert found.loads["reward CPU"] == pytest.approx(8)
    assert found.replicas == {"reward": 8, "simulator": 8, "evaluator": 8, "Redis": 1}
    places = size(replace(DEMAND, gpus=100), COSTS, Limits(busy=0.5, places=2000))
    assert places.replicas["simulator"] == 20
    assert places.bottleneck == "simulator places"
    assert places.shared_bottleneck == "Redis CPU"


def test_costs_are_read_from_the_files_of_other_measurements(tmp_path: Path) -> None:
    write(tmp_path, calls_per_future=[5.0, 6.0, 7.0])
    costs = costs_of(tmp_path, redis=True)
    assert costs.reward_ms == pytest.approx(0.3 * 6)
    assert costs.turn_ms == pytest.approx(0.2 * 6 / 4)
    assert costs.verdict_ms == pytest.approx(0.1 * 6 / 2)
    assert costs.future_kib == pytest.approx(20)
    assert (costs.redis_ms, costs.redis_commands, costs.cached_per_second) == (0.2, 30, 6000)
    assert costs.redis_kib == 2
    # The least of the rounds, which others disturbed least.
    assert costs.network_kib == 5
    with pytest.raises(SystemExit, match="call_cpu.json is missing"):
        costs_of(tmp_path, redis=False)


def test_the_table_has_a_column_for_each_size() -> None:
    sizes = [size(replace(DEMAND, gpus=n), COSTS, Limits()) for n in (8, 64)]
    lines = table(sizes).splitlines()
    assert lines[0] == "| GPUs | 8 | 64 |"
    assert "| futures/s | 160 | 1,280 |" in lines
    assert "| reward: cores (replicas) | 0.32 (1) | 2.56 (4) |" in lines
    assert lines[-2] == "| first bottleneck | reward CPU 0.457 × | reward CPU 3.66 × |"


def write(folder: Path, *, calls_per_future: Sequence[float]) -> None:
    """Write the files with the Redis, and without the one for a cache in memory."""
    rounds = [
        {
            "reward": 0.3,
            "simulator": 0.2,
            "evaluator": 0.1,
            "calls_per_future": calls,
            "network_bytes_per_future": 1024 * calls,
            "redis_cpu_ms_per_future": 0.2,
            "redis_commands_per_future": 30,
            "redis_bytes_in_per_future": 1536,
            "redis_bytes_out_per_future": 512,
            "redis_memory_bytes_per_future": 3072,
        }
        for calls in calls_per_future
    ]
    cpu = {"turns": 4, "verdicts": 2, "rounds": rounds}
    (folder / "call_cpu_redis.json").write_text(json.dumps(cpu))
    memory = {"resident MiB": [180.0], "idle MiB": [80.0], "futures in flight": [5120]}
    whole = {"findings": {"memory": {"foresight": [memory]}}}
    (folder / "side_by_side.json").write_text(json.dumps(whole))
    cached = {"redis, whole": {"rewards_per_second": 6000}}
    (folder / "cached_rewards.json").write_text(json.dumps(cached))
