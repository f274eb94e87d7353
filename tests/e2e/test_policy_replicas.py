"""Two replicas over one real Redis: what is published to one, the other plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from foresight import (
    Rewards,
    ServiceUnavailableError,
    StalePolicyError,
)
from tests.e2e.replicas import Deployment, deployment
from tests.e2e.stage import REQUEST
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

SETTINGS = "outage_pause_seconds: 0.05, poll_ms: 200"
ASKED: dict[str, Any] = {
    **REQUEST,
    "candidates": ["Sure! Which numbers?"],
    "simulation": {"horizon_messages": 4, "samples": {"max": 2}},
    "include_futures": True,
}


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, replicas=2, settings=SETTINGS) as running:
        yield running


def versions(rewards: Rewards) -> set[int]:
    """Return the versions that answered."""
    assert [reward.status for reward in rewards] == ["complete"]
    return {future.policy.version for future in rewards[0].futures if future.policy is not None}


async def test_what_is_published_to_one_is_played_by_the_other(live: Deployment) -> None:
    here, there = live.clients
    assert versions(await there.send(ASKED)) == {0}
    for version in range(1, 6):
        # The path differs, so that each is a place of its own.
        endpoint = f"{live.server.base_url}{'/' * version}"
        publisher, other = (here, there) if version % 2 else (there, here)
        published = await publisher.publish_policy(version=version, endpoint=endpoint)
        assert await other.get_policy() == published
        assert versions(await other.send(ASKED)) == {version}
        with pytest.raises(StalePolicyError):
            await other.publish_policy(version=version, endpoint="http://elsewhere/v1")


async def test_a_cancellation_reaches_the_futures_of_the_other(live: Deployment) -> None:
    here, there = live.clients
    await here.publish_policy(version=1, endpoint=live.server.base_url)
    live.stage.hold()
    before = live.calls
    running = asyncio.create_task(there.send(ASKED, timeout=60))
    await eventually(lambda: live.calls > before)
    # Of another name, or the newer version would take the place of the older one by itself.
    elsewhere = live.server.base_url.replace("127.0.0.1", "localhost")
    assert elsewhere != live.server.base_url
    await here.publish_policy(version=2, endpoint=elsewhere, cancel_in_flight=True)
    # The models still say nothing.
    futures = (await running)[0].futures
    reasons = [future.error.reason for future in futures if future.error is not None]
    assert reasons == ["STALE_POLICY"] * 2
    live.stage.go_on()
    assert versions(await there.send(ASKED)) == {2}


async def test_versions_outlive_redis_and_publications_wait_for_it(live: Deployment) -> None:
    here, there = live.clients
    await here.publish_policy(version=1, endpoint=live.server.base_url)
    assert (await there.get_policy()).version == 1
    live.redis.kill()
    for client in (here, there):
        assert versions(await client.send(ASKED, timeout=60)) == {1}
        with pytest.raises(ServiceUnavailableError) as refused:
            await client.publish_policy(version=2, endpoint=f"{live.server.base_url}/")
        assert refused.value.reason == "SERVICE_UNAVAILABLE"
        assert refused.value.metadata["service"] == "redis"
    live.redis.start()

    async def published() -> None:
        while True:
            try:
                await here.publish_policy(version=2, endpoint=f"{live.server.base_url}/")
            except ServiceUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return

    await asyncio.wait_for(published(), 60)
    async with asyncio.timeout(60):
        while (await there.get_policy()).version != 2:  # noqa: ASYNC110 - elsewhere
            await asyncio.sleep(0.02)
    assert versions(await there.send(ASKED)) == {2}
