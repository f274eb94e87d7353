"""The policy is the one being trained: publish, compute, swap, from the client to the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from foresight import (
    CandidateEvent,
    ForesightError,
    GroupEvent,
    StalePolicyError,
    TooFewFuturesError,
    UnknownPolicyError,
)
from tests.fakes.live_policies import NOWHERE, Live, live_policies, played, request
from tests.fakes.lora_server import lora_vllm, write_adapter
from tests.fakes.openai_server import Call, OpenAIServer, Reply, error, openai_server
from tests.fakes.waiting import eventually

MANY = {"samples": {"min": 1, "max": 32}}
"""With two candidates, 64 futures."""


def says(text: str, *, after: asyncio.Event | None = None) -> Callable[[Call], Reply]:
    return lambda call: Reply(text, after=after)


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    """The services, with a configured policy of their own."""
    async with live_policies() as live:
        yield live


@pytest.fixture
async def serve() -> AsyncIterator[Callable]:
    """Start servers that play policies."""
    async with AsyncExitStack() as stack:

        async def start(script: Callable[[Call], Reply]) -> OpenAIServer:
            return await stack.enter_async_context(openai_server(script))

        yield start


async def test_the_newest_version_plays_unless_a_request_names_one(live: Live, serve) -> None:
    (before,) = await live.compute()
    assert played(before) == {(0, "configured")}
    for version in (1, 2, 5):
        server = await serve(says(f"I am {version}"))
        await live.client.publish_policy(version=version, endpoint=server.base_url)
    (newest,) = await live.compute()
    assert played(newest) == {(5, "I am 5")}
    for version in (1, 2):
        policy = {"name": "policy", "version": version}
        (pinned,) = await live.compute(simulation={"policy": policy})
        assert played(pinned) == {(version, f"I am {version}")}
        assert pinned.status == "complete"


async def test_a_version_that_was_not_published_costs_nothing(live: Live, serve) -> None:
    server = await serve(says("I am 1"))
    await live.client.publish_policy(version=1, endpoint=server.base_url)
    for name, version in (("policy", 2), ("other", 0), ("other", 1)):
        with pytest.raises(UnknownPolicyError):
            await live.compute(simulation={"policy": {"name": name, "version": version}})
    assert (live.user.requests, server.calls) == ([], [])


async def test_a_name_that_is_not_configured_can_be_published(live: Live, serve) -> None:
    server = await serve(says("I challenge"))
    await live.client.publish_policy(name="challenger", version=3, endpoint=server.base_url)
    (challenged,) = await live.compute(simulation={"policy": {"name": "challenger"}})
    assert played(challenged) == {(3, "I challenge")}
    (own,) = await live.compute()
    assert played(own) == {(0, "configured")}


async def test_a_swap_under_load_lets_every_future_end_on_its_version(live: Live, serve) -> None:
    gate = asyncio.Event()
    one, two = await serve(says("I am 1", after=gate)), await serve(says("I am 2"))
    await live.client.publish_policy(version=1, endpoint=one.base_url)
    running = asyncio.create_task(live.compute(candidates=["a", "b"], simulation=MANY))
    await eventually(lambda: one.in_flight == 64)
    await live.client.publish_policy(version=2, endpoint=two.base_url)
    for candidate in await live.compute(candidates=["a", "b"], simulation=MANY):
        assert (played(candidate), candidate.n_ok) == ({(2, "I am 2")}, 32)
    # Both policy turns of those that began before the swap: one in flight then, one still to come.
    assert (one.in_flight, len(one.calls)) == (64, 64)
    gate.set()
    for candidate in await running:
        assert (played(candidate), candidate.n_ok) == ({(1, "I am 1")}, 32)
    assert (len(one.calls), len(two.calls)) == (128, 128)


async def test_adapters_are_swapped_under_load_on_one_server(tmp_path: Path) -> None:
    gate = asyncio.Event()

    def script(call: Call, says: str) -> Reply:
        return Reply(says, after=gate if says == "I am 1" else None)

    async with lora_vllm(script) as vllm, live_policies(vllm.base_url) as live:
        paths = [write_adapter(tmp_path / str(n), f"I am {n}") for n in range(5)]
        await live.client.publish_policy(version=1, lora_adapter_path=paths[1])
        running = asyncio.create_task(live.compute(candidates=["a", "b"], simulation=MANY))
        await eventually(lambda: vllm.in_flight == 64)
        for version in (2, 3, 4):
            await live.client.publish_policy(version=version, lora_adapter_path=paths[version])
            # All at once, so that their loads meet.
            groups = await asyncio.gather(*(live.compute() for _ in range(8)))
            assert {seen for (one,) in groups for seen in played(one)} == {
                (version, f"I am {version}")
            }
        gate.set()
        for candidate in await running:
            assert (played(candidate), candidate.n_ok) == ({(1, "I am 1")}, 32)
        # The reference gives every adapter the number 1, and the server keeps the first weights.
        names = [name for name, _ in vllm.loads]
        assert len(set(names)) == len(names) == 4
        assert [path for _, path in vllm.loads] == paths[1:]
        assert vllm.unloads == []


async def test_a_publisher_may_cancel_what_runs_on_older_versions(live: Live, serve) -> None:
    gate = asyncio.Event()

    def some(call: Call) -> Reply:
        return Reply("I am 1", after=gate if "slow" in call.prompt else None)

    one, two = await serve(some), await serve(says("I am 2"))
    await live.client.publish_policy(version=1, endpoint=one.base_url)
    group = request(candidates=["quick", "slow"], simulation={"samples": {"min": 1, "max": 64}})
    async with aclosing(live.client.stream_rewards([group])) as events:
        first = await anext(events)
        await eventually(lambda: one.in_flight == 64)
        await live.client.publish_policy(version=2, endpoint=two.base_url, cancel_in_flight=True)
        second, done = [event async for event in events]
    assert isinstance(first, CandidateEvent)
    assert isinstance(second, CandidateEvent)
    assert isinstance(done, GroupEvent)
    quick, slow = first.candidate, second.candidate
    assert (quick.status, quick.value, played(quick)) == ("complete", 0.5, {(1, "I am 1")})
    assert (slow.status, slow.value) == ("failed", None)
    assert isinstance(slow.error, TooFewFuturesError)
    assert slow.error.metadata["first_error"] == "STALE_POLICY"
    for future in slow.futures:
        assert isinstance(future.error, StalePolicyError)
        assert future.error.metadata == {"policy": "policy", "newest": "2"}
    await eventually(lambda: (one.in_flight, one.cancelled) == (0, 64))
    (after,) = await live.compute()
    assert played(after) == {(2, "I am 2")}


async def test_a_computation_with_nothing_to_show_is_cancelled_as_data_too(
    live: Live, serve
) -> None:
    one = await serve(says("I am 1", after=asyncio.Event()))
    await live.client.publish_policy(version=1, endpoint=one.base_url)
    running = asyncio.create_task(live.compute())
    await eventually(lambda: one.in_flight == 2)
    await live.client.publish_policy(version=2, endpoint=NOWHERE, cancel_in_flight=True)
    (candidate,) = await running
    assert [type(future.error) for future in candidate.futures] == [StalePolicyError] * 2


async def test_a_server_that_takes_new_weights_ends_the_older_versions_futures(live: Live) -> None:
    gate = asyncio.Event()
    async with lora_vllm(lambda call, says: Reply("I am new", after=gate)) as trainer:
        server = trainer.base_url.removesuffix("/v1")
        await live.client.publish_policy(version=1, trl_server=server)
        running = asyncio.create_task(live.compute())
        await eventually(lambda: trainer.in_flight == 2)
        await live.client.publish_policy(version=2, trl_server=f"{server}/")
        # No future may claim version 1 for what the weights of version 2 said.
        (candidate,) = await running
        assert [type(future.error) for future in candidate.futures] == [StalePolicyError] * 2
        gate.set()
        (newest,) = await live.compute()
        assert played(newest) == {(2, "I am new")}
        with pytest.raises(StalePolicyError):
            await live.compute(simulation={"policy": {"name": "policy", "version": 1}})


@pytest.mark.parametrize("status", [400, 404])
async def test_an_adapter_that_does_not_load_is_a_clear_error_and_no_storm(
    status: int, tmp_path: Path
) -> None:
    async with lora_vllm() as vllm, live_policies(vllm.base_url) as live:
        vllm.refusal = lambda name: (
            error(status, "no adapter of this rank") if "@1-" in name else None
        )
        await live.client.publish_policy(version=1, lora_adapter_path="/adapters/1")

        async def refused() -> ForesightError:
            with pytest.raises(ForesightError) as caught:
                await live.compute(simulation=MANY)
            return caught.value

        errors = await asyncio.gather(*(refused() for _ in range(8)))
        errors.append(await refused())
        assert {(e.reason, e.code.name) for e in errors} == {
            ("MODEL_REJECTED", "FAILED_PRECONDITION")
        }
        assert "'/adapters/1'" in errors[0].message
        assert len(vllm.loads) == 1
        assert (live.user.requests, vllm.calls) == ([], [])
        good = write_adapter(tmp_path / "2", "I am 2")
        await live.client.publish_policy(version=2, lora_adapter_path=good)
        (candidate,) = await live.compute()
        assert played(candidate) == {(2, "I am 2")}


async def test_an_endpoint_that_is_down_costs_its_futures_and_nothing_else(
    live: Live, serve
) -> None:
    await live.client.publish_policy(version=1, endpoint=NOWHERE)
    (candidate,) = await live.compute()
    assert isinstance(candidate.error, TooFewFuturesError)
    assert candidate.error.metadata["first_error"] == "MODEL_FAILED"
    assert {future.error.reason for future in candidate.futures if future.error} == {"MODEL_FAILED"}
    server = await serve(says("I am 2"))
    await live.client.publish_policy(version=2, endpoint=server.base_url)
    (candidate,) = await live.compute()
    assert played(candidate) == {(2, "I am 2")}


async def test_a_deadline_holds_while_an_adapter_loads(tmp_path: Path) -> None:
    async with lora_vllm() as vllm, live_policies(vllm.base_url) as live:
        vllm.held = asyncio.Event()
        path = write_adapter(tmp_path / "1", "I am 1")
        await live.client.publish_policy(version=1, lora_adapter_path=path)
        (candidate,) = await live.compute(timeout=1.3)
        assert candidate.error is not None
        assert candidate.error.reason == "DEADLINE_EXCEEDED"
        vllm.held.set()
        (candidate,) = await live.compute()
        assert played(candidate) == {(1, "I am 1")}
        assert len(vllm.loads) == 1
