"""Three replicas over one real Redis: equal work is done once, whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from foresight import Rewards
from tests.e2e.replicas import Deployment, deployment
from tests.e2e.stage import CALLS, CALLS_OF_A_FUTURE, FUTURES, REQUEST
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

REPLICAS = 3


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, replicas=REPLICAS, settings="lease_seconds: 1.0") as running:
        yield running


def complete(rewards: Rewards) -> list[float | None]:
    assert [reward.status for reward in rewards] == ["complete", "complete"]
    return list(rewards.values)


async def test_a_hundred_equal_requests_cost_what_one_does(live: Deployment) -> None:
    asked = [live.clients[number % REPLICAS].send(REQUEST) for number in range(100)]
    values = [complete(rewards) for rewards in await asyncio.gather(*asked)]
    assert all(value == values[0] for value in values)
    assert live.calls == CALLS


async def test_when_the_owner_is_killed_another_takes_over(live: Deployment) -> None:
    # All but two calls for messages: some futures have ended, and some have not.
    live.stage.most = FUTURES * CALLS_OF_A_FUTURE - 2
    owner, second, third = live.clients
    lost = asyncio.create_task(owner.send(REQUEST, timeout=60))
    await eventually(lambda: live.stored("future") > 0)
    waiting = [asyncio.create_task(client.send(REQUEST, timeout=60)) for client in (second, third)]
    live.replicas[0].process.kill()
    await asyncio.to_thread(live.replicas[0].process.wait)
    kept, judged = live.stored("future"), live.stored("score")
    assert 0 < kept < FUTURES
    live.stage.go_on()
    values = [complete(rewards) for rewards in await asyncio.gather(*waiting)]
    assert values[0] == values[1]
    # What was not stored when the owner died is computed once more, and nothing else.
    again = CALLS_OF_A_FUTURE * (FUTURES - kept) + FUTURES - judged
    assert live.calls <= CALLS + again
    await asyncio.gather(lost, return_exceptions=True)


@pytest.mark.parametrize(
    "harm",
    [
        lambda redis: redis.kill(),
        lambda redis: redis.ask("FLUSHALL"),
        lambda redis: redis.ask("CLIENT", "PAUSE", 3_000),
        lambda redis: redis.ask("CONFIG", "SET", "maxmemory", "1"),
    ],
    ids=["killed", "flushed", "paused", "full"],
)
async def test_requests_go_on_whatever_befalls_redis(
    live: Deployment, harm: Callable[[RedisServer], object]
) -> None:
    first = complete(await live.clients[0].send(REQUEST))
    harm(live.redis)
    again = complete(await live.clients[1].send(REQUEST, timeout=60))
    assert again == first


async def test_what_was_remembered_survives_the_replicas(live: Deployment) -> None:
    first = complete(await live.clients[0].send(REQUEST))
    before = live.calls
    assert complete(await live.clients[2].send(REQUEST)) == first
    more = {**REQUEST, "simulation": {**REQUEST["simulation"], "samples": {"max": 5}}}
    complete(await live.clients[1].send(more))
    assert live.calls - before == 2 * 2 * (4 + 1)
