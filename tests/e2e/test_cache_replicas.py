"""Three replicas over one real Redis: equal work is done once, whoever dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from foresight import AsyncClient, Rewards
from tests.e2e.cli_process import Running, started
from tests.fakes.openai_server import Call, OpenAIServer, Reply, openai_server
from tests.fakes.redis_server import RedisServer, redis_server
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

REPLICAS = 3

CONFIG = """
models:
  policy: {{backend: openai, base_url: "{model}", model: the-policy}}
  user: {{backend: openai, base_url: "{model}", model: the-user}}
  judge: {{backend: openai, base_url: "{model}", model: the-judge}}
cache: {{url: "{redis}", lease_seconds: 1.0}}
"""


def request(**fields: Any) -> dict[str, Any]:
    """Return a request for 2 candidates with 3 futures of 4 messages, judged once: 30 calls."""
    return {
        "task": {"description": "A person asks for help.", "goal": "the sum of two and two"},
        "prefix": [{"role": "user", "content": "can you add numbers?"}],
        "candidates": ["Sure! Which numbers?", "4."],
        "objective": {"metrics": [{"name": "success"}]},
        "simulation": {"horizon_messages": 4, "samples": {"max": 3}, "seed": 7},
        **fields,
    }


FUTURES = 2 * 3
CALLS_OF_A_FUTURE = 4
CALLS = FUTURES * (CALLS_OF_A_FUTURE + 1)


class Stage:
    """Plays every model; can hold back every call after so many."""

    def __init__(self) -> None:
        self.answered = 0
        self.most: int | None = None
        self.room = asyncio.Event()

    async def play(self, call: Call) -> Reply:
        while self.most is not None and self.answered >= self.most:
            self.room.clear()
            await self.room.wait()
        self.answered += 1
        match call.model:
            case "the-user":
                said = {"thought": "hm", "message": f"two and two ({call.seed})", "done": False}
                return Reply(json.dumps(said))
            case "the-judge":
                return Reply(json.dumps({"rationale": "fine", "success": 0.75}))
            case _:
                return Reply(f"It is 4 ({call.seed}).")

    def go_on(self) -> None:
        self.most = None
        self.room.set()


@dataclass
class Deployment:
    """What runs, and how it is reached."""

    stage: Stage
    server: OpenAIServer
    redis: RedisServer
    replicas: list[Running]
    clients: list[AsyncClient]

    @property
    def calls(self) -> int:
        """How many calls the models have had."""
        return len(self.server.calls)

    def stored(self, namespace: str) -> int:
        """How many values of a kind Redis holds."""
        names: Any = self.redis.ask("KEYS", f"foresight:{namespace}:{{*}}")
        return len(names)


def address(service: Running) -> str:
    """Return where a service listens."""
    return service.out.wait_for(r"^serving \w+ on (\S+)")[1].rstrip(",")


@asynccontextmanager
async def deployment(folder: Path) -> AsyncIterator[Deployment]:
    stage = Stage()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(openai_server(stage.play))
        redis = stack.enter_context(redis_server(folder))
        config = folder / "foresight.yaml"
        config.write_text(CONFIG.format(model=server.base_url, redis=redis.url))

        def serve(*arguments: str) -> Running:
            options = ("--config", str(config), "--listen", "127.0.0.1:0", "--metrics", "none")
            return stack.enter_context(started("serve", *arguments, *options))

        simulator, evaluator = address(serve("simulator")), address(serve("evaluator"))
        peers = ("--simulator", simulator, "--evaluator", evaluator)
        replicas = [serve("reward", *peers) for _ in range(REPLICAS)]
        clients = [
            await stack.enter_async_context(AsyncClient(address(replica))) for replica in replicas
        ]
        for replica in replicas:
            replica.out.wait_for("^reward is ready$")
        yield Deployment(stage, server, redis, replicas, clients)


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as running:
        yield running


def complete(rewards: Rewards) -> list[float | None]:
    assert [reward.status for reward in rewards] == ["complete", "complete"]
    return list(rewards.values)


async def test_a_hundred_equal_requests_cost_what_one_does(live: Deployment) -> None:
    asked = [live.clients[number % REPLICAS].send(request()) for number in range(100)]
    values = [complete(rewards) for rewards in await asyncio.gather(*asked)]
    assert all(value == values[0] for value in values)
    assert live.calls == CALLS


async def test_when_the_owner_is_killed_another_takes_over(live: Deployment) -> None:
    # All but two calls for messages: some futures have ended, and some have not.
    live.stage.most = FUTURES * CALLS_OF_A_FUTURE - 2
    owner, second, third = live.clients
    lost = asyncio.create_task(owner.send(request(), timeout=60))
    await eventually(lambda: live.stored("future") > 0)
    waiting = [
        asyncio.create_task(client.send(request(), timeout=60)) for client in (second, third)
    ]
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
    first = complete(await live.clients[0].send(request()))
    harm(live.redis)
    again = complete(await live.clients[1].send(request(), timeout=60))
    assert again == first


async def test_what_was_remembered_survives_the_replicas(live: Deployment) -> None:
    first = complete(await live.clients[0].send(request()))
    before = live.calls
    assert complete(await live.clients[2].send(request())) == first
    more = request(simulation={"horizon_messages": 4, "samples": {"max": 5}, "seed": 7})
    complete(await live.clients[1].send(more))
    assert live.calls - before == 2 * 2 * (4 + 1)
