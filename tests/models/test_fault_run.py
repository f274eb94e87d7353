"""A thousand rewards over real sockets while a fifth of the calls fails: none lost, none biased."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tests.fakes.fault_run import (
    NEW_SEED,
    RETRIES,
    SAME_SEED,
    Outcome,
    backend_of,
    differences,
    fault_run,
    group_query,
    resilient,
    rewards_over,
)
from tests.fakes.openai_server import Reply, openai_server
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually

GROUPS = 125
"""Groups of eight candidates."""


@pytest.fixture(scope="module")
def undisturbed() -> Outcome:
    """The rewards where nothing fails."""
    outcome = asyncio.run(fault_run(groups=GROUPS, share=0.0, timeout_seconds=300.0))
    assert outcome.lost == 0
    assert len(outcome.values) == 1000
    assert len(set(outcome.values)) > 20
    assert (outcome.retries, outcome.counted_calls) == (0, outcome.calls)
    return outcome


async def test_faults_of_server_and_network_change_no_reward(undisturbed: Outcome) -> None:
    outcome = await fault_run(groups=GROUPS, share=0.2, faults=SAME_SEED)
    assert outcome.lost == 0
    assert outcome.values == undisturbed.values
    assert sum(outcome.failed.values()) > 0.15 * outcome.calls
    assert set(outcome.failed) == set(SAME_SEED)
    # The ledgers tell of every call, and of what it repeated.
    assert outcome.retries >= sum(outcome.failed.values())
    assert outcome.counted_calls - outcome.retries == undisturbed.calls


async def test_replies_drawn_anew_leave_the_mean_where_it_was(undisturbed: Outcome) -> None:
    outcome = await fault_run(groups=GROUPS, share=0.2, faults={**SAME_SEED, **NEW_SEED})
    assert outcome.lost == 0
    assert set(outcome.failed) == {*SAME_SEED, *NEW_SEED}
    mean, error, changed = differences(undisturbed, outcome)
    assert changed > 0
    assert abs(mean) < 4 * error


async def test_closing_a_request_stops_its_calls_at_the_server() -> None:
    never, clock = asyncio.Event(), LoopClock()
    async with (
        openai_server(lambda call: Reply("too late", after=never)) as server,
        backend_of(server.base_url, clock, timeout_seconds=300.0) as backend,
    ):
        model = resilient(backend, clock, RecordingTelemetry(), RETRIES)
        async with aclosing(rewards_over(model).compute(group_query(seed=0))) as events:
            first = asyncio.ensure_future(anext(events))
            await eventually(lambda: server.in_flight == 8)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        await eventually(lambda: server.in_flight == 0)
        assert [call.outcome for call in server.calls] == ["cancelled"] * len(server.calls)
        stopped = len(server.calls)
    assert len(server.calls) == stopped
