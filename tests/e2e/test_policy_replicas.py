"""Two replicas over one real Redis: what is published to one, the other plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from foresight import (
    AsyncClient,
    Rewards,
    ServiceUnavailableError,
    StalePolicyError,
)
from tests.e2e.cli_process import Running, started
from tests.fakes.openai_server import Call, OpenAIServer, Reply, openai_server
from tests.fakes.redis_server import RedisServer, redis_server
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

CONFIG = """
models:
  policy: {{backend: openai, base_url: "{model}", model: the-policy}}
  user: {{backend: openai, base_url: "{model}", model: the-user}}
  judge: {{backend: openai, base_url: "{model}", model: the-judge}}
cache: {{url: "{redis}", outage_pause_seconds: 0.05, poll_ms: 200}}
"""

REQUEST: dict[str, Any] = {
    "task": {"description": "A person asks for help.", "goal": "the sum of two and two"},
    "prefix": [{"role": "user", "content": "can you add numbers?"}],
    "candidates": ["Sure! Which numbers?"],
    "objective": {"metrics": [{"name": "token_amount"}]},
    "simulation": {"horizon_messages": 4, "samples": {"max": 2}},
    "include_futures": True,
}


class Stage:
    """Plays every model; can hold back what the policy says."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.held = 0

    async def play(self, call: Call) -> Reply:
        if call.model == "the-user":
            return Reply(json.dumps({"thought": "hm", "message": "two and two", "done": False}))
        self.held += 1
        await self.go_on.wait()
        return Reply("It is 4.")


@dataclass
class Deployment:
    """What runs, and how it is reached."""

    stage: Stage
    model: OpenAIServer
    redis: RedisServer
    here: AsyncClient
    there: AsyncClient


def address(service: Running) -> str:
    return service.out.wait_for(r"^serving \w+ on (\S+)")[1].rstrip(",")


@asynccontextmanager
async def deployment(folder: Path) -> AsyncIterator[Deployment]:
    stage = Stage()
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(openai_server(stage.play))
        redis = stack.enter_context(redis_server(folder))
        config = folder / "foresight.yaml"
        config.write_text(CONFIG.format(model=model.base_url, redis=redis.url))

        def serve(*arguments: str) -> Running:
            options = ("--config", str(config), "--listen", "127.0.0.1:0", "--metrics", "none")
            return stack.enter_context(started("serve", *arguments, *options))

        simulator, evaluator = address(serve("simulator")), address(serve("evaluator"))
        peers = ("--simulator", simulator, "--evaluator", evaluator)
        replicas = [serve("reward", *peers) for _ in range(2)]
        here, there = [
            await stack.enter_async_context(AsyncClient(address(replica))) for replica in replicas
        ]
        for replica in replicas:
            replica.out.wait_for("^reward is ready$")
        yield Deployment(stage, model, redis, here, there)
        stage.go_on.set()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path) as running:
        yield running


def versions(rewards: Rewards) -> set[int]:
    """Return the versions that answered."""
    assert [reward.status for reward in rewards] == ["complete"]
    return {future.policy.version for future in rewards[0].futures if future.policy is not None}


async def test_what_is_published_to_one_is_played_by_the_other(live: Deployment) -> None:
    assert versions(await live.there.send(REQUEST)) == {0}
    for version in range(1, 6):
        # The path differs, so that each is a place of its own.
        endpoint = f"{live.model.base_url}{'/' * version}"
        publisher, other = (live.here, live.there) if version % 2 else (live.there, live.here)
        published = await publisher.publish_policy(version=version, endpoint=endpoint)
        assert await other.get_policy() == published
        assert versions(await other.send(REQUEST)) == {version}
        with pytest.raises(StalePolicyError):
            await other.publish_policy(version=version, endpoint="http://elsewhere/v1")


async def test_a_cancellation_reaches_the_futures_of_the_other(live: Deployment) -> None:
    await live.here.publish_policy(version=1, endpoint=live.model.base_url)
    live.stage.go_on.clear()
    running = asyncio.create_task(live.there.send(REQUEST, timeout=60))
    await eventually(lambda: live.stage.held > 0)
    # Of another name, or the newer version would take the place of the older one by itself.
    elsewhere = live.model.base_url.replace("127.0.0.1", "localhost")
    assert elsewhere != live.model.base_url
    await live.here.publish_policy(version=2, endpoint=elsewhere, cancel_in_flight=True)
    # The models still say nothing.
    futures = (await running)[0].futures
    reasons = [future.error.reason for future in futures if future.error is not None]
    assert reasons == ["STALE_POLICY"] * 2
    live.stage.go_on.set()
    assert versions(await live.there.send(REQUEST)) == {2}


async def test_versions_outlive_redis_and_publications_wait_for_it(live: Deployment) -> None:
    await live.here.publish_policy(version=1, endpoint=live.model.base_url)
    assert (await live.there.get_policy()).version == 1
    live.redis.kill()
    for client in (live.here, live.there):
        assert versions(await client.send(REQUEST, timeout=60)) == {1}
        with pytest.raises(ServiceUnavailableError) as refused:
            await client.publish_policy(version=2, endpoint=f"{live.model.base_url}/")
        assert refused.value.reason == "SERVICE_UNAVAILABLE"
        assert refused.value.metadata["service"] == "redis"
    live.redis.start()

    async def published() -> None:
        while True:
            try:
                await live.here.publish_policy(version=2, endpoint=f"{live.model.base_url}/")
            except ServiceUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return

    await asyncio.wait_for(published(), 60)
    async with asyncio.timeout(60):
        while (await live.there.get_policy()).version != 2:  # noqa: ASYNC110 - elsewhere
            await asyncio.sleep(0.02)
    assert versions(await live.there.send(REQUEST)) == {2}
