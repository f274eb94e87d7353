"""Many groups on one stream: interleaved, told candidate by candidate, refused one by one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import grpc.aio

from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight_services.core.ports import ChatRequest
from tests.fakes.held import Held
from tests.fakes.requests import game, simulation
from tests.fakes.servers import foresight, loopback, refusal_in, refused, rest_of
from tests.fakes.waiting import eventually


def candidate_of(request: ChatRequest) -> str:
    """Return the candidate that the conversation of `request` continues."""
    return request.conversation[1].content


def group(name: str, *candidates: str, progress: bool = False, **fields: Any) -> Any:
    asked = game(
        request_id=name,
        candidates=candidates,
        simulation=simulation(most=2, horizon_messages=2),
        **fields,
    )
    return pb.StreamRewardsRequest(group=asked, progress=progress)


def event(answer: Any) -> tuple[Any, ...]:
    """Return what `answer` tells, in short."""
    kind = answer.WhichOneof("event")
    if kind == "done":
        return answer.request_id, kind, answer.done.WhichOneof("outcome")
    told = getattr(answer, kind)
    if kind == "future":
        return answer.request_id, kind, told.candidate_index, told.sample_index, told.ok
    return answer.request_id, kind, told.candidate_index, told.n_ok


async def rest(call: Any) -> list[tuple[Any, ...]]:
    await call.done_writing()
    return [event(answer) for answer in await rest_of(call)]


async def test_groups_interleave_and_each_candidate_is_told_when_it_is_known(held: Held) -> None:
    held.at = candidate_of
    async with foresight(loopback()) as live:
        call: Any = pb_grpc.RewardServiceStub(live.channel).StreamRewards()
        await call.write(group("one", "1a", "1b"))
        await call.write(group("two", "2a", "2b"))
        await eventually(lambda: held.waiting == 8)
        for gate, told in (
            ("2b", ("two", "candidate", 1, 2)),
            ("1a", ("one", "candidate", 0, 2)),
            ("1b", ("one", "candidate", 1, 2)),
        ):
            held.gates.open(gate)
            assert event(await call.read()) == told
        # The first group ends while the second still runs.
        assert event(await call.read()) == ("one", "done", "summary")
        assert held.waiting == 2
        held.gates.open("2a")
        assert await rest(call) == [("two", "candidate", 0, 2), ("two", "done", "summary")]


async def test_a_group_may_come_while_another_runs(held: Held) -> None:
    held.at = lambda request: "gate" if candidate_of(request) == "slow" else None
    async with foresight(loopback()) as live:
        call: Any = pb_grpc.RewardServiceStub(live.channel).StreamRewards()
        await call.write(group("slow", "slow"))
        await eventually(lambda: held.waiting == 2)
        await call.write(group("fast", "fast"))
        assert event(await call.read()) == ("fast", "candidate", 0, 2)
        assert event(await call.read()) == ("fast", "done", "summary")
        held.gates.open("gate")
        assert await rest(call) == [("slow", "candidate", 0, 2), ("slow", "done", "summary")]


async def test_progress_comes_only_where_it_was_asked_for() -> None:
    async with foresight(loopback()) as live:
        call: Any = pb_grpc.RewardServiceStub(live.channel).StreamRewards()
        await call.write(group("loud", "a", "b", progress=True))
        await call.write(group("quiet", "a", "b"))
        events = await rest(call)
    loud = [told[1:] for told in events if told[0] == "loud"]
    quiet = [told[1:] for told in events if told[0] == "quiet"]
    assert Counter(loud) == Counter(
        [
            *(("future", c, s, True) for c in range(2) for s in range(2)),
            *(("candidate", c, 2) for c in range(2)),
            ("done", "summary"),
        ]
    )
    # A candidate is told after all its futures, the group after all its candidates.
    for index in range(2):
        futures = [loud.index(("future", index, s, True)) for s in range(2)]
        assert max(futures) < loud.index(("candidate", index, 2))
    assert loud[-1] == quiet[-1] == ("done", "summary")
    assert Counter(quiet[:-1]) == Counter([("candidate", 0, 2), ("candidate", 1, 2)])


async def test_a_refused_group_leaves_the_others(held: Held) -> None:
    held.at = lambda request: "gate"
    async with foresight(loopback()) as live:
        call: Any = pb_grpc.RewardServiceStub(live.channel).StreamRewards()
        await call.write(group("good", "a"))
        await eventually(lambda: held.waiting == 2)
        await call.write(group("bad", ""))
        answer = await call.read()
        assert event(answer) == ("bad", "done", "error")
        refusal = refusal_in(answer.done.error)
        assert refusal.code == "INVALID_ARGUMENT"
        assert list(refusal.fields) == ["candidates[0]"]
        held.gates.open("gate")
        assert await rest(call) == [("good", "candidate", 0, 2), ("good", "done", "summary")]


async def test_a_stream_says_what_a_single_call_says() -> None:
    asked = game(request_id="mine", candidates=["Is it alive?", "Is it a dog?"], cache="bypass")
    async with foresight(loopback()) as live:
        stub = pb_grpc.RewardServiceStub(live.channel)
        alone = await stub.ComputeRewards(asked)
        call: Any = stub.StreamRewards()
        await call.write(pb.StreamRewardsRequest(group=asked))
        await call.done_writing()
        answers = await rest_of(call)
    together = answers[-1].done.summary
    results = sorted((a.candidate for a in answers[:-1]), key=lambda c: c.candidate_index)
    together.results.extend(results)
    # What only the end of the group can tell.
    for told in together.leads:
        together.results[told.candidate_index].behind_best.CopyFrom(told.behind_best)
    assert together.leads
    del together.leads[:]
    for response in (alone, together):
        response.usage.ClearField("wall_time")
        for result in response.results:
            result.usage.ClearField("wall_time")
            for future in result.futures:
                future.usage.ClearField("wall_time")
    assert together == alone


async def test_groups_without_a_name_are_given_different_ones() -> None:
    async with foresight(loopback()) as live:
        call: Any = pb_grpc.RewardServiceStub(live.channel).StreamRewards()
        for _ in range(2):
            await call.write(group("", "a"))
        names = [told[0] for told in await rest(call)]
    assert sorted(Counter(names).values()) == [2, 2]
    assert "" not in names


async def test_a_stream_without_groups_ends() -> None:
    async with foresight(loopback()) as live:
        call: Any = pb_grpc.RewardServiceStub(live.channel).StreamRewards()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_a_name_in_flight_is_refused_and_a_finished_one_is_free(held: Held) -> None:
    async with foresight(loopback()) as live:
        call: Any = pb_grpc.RewardServiceStub(live.channel).StreamRewards()
        for _ in range(2):
            await call.write(group("same", "1a"))
            while event(await call.read())[1] != "done":
                pass
        held.at = candidate_of
        # What was asked before would be there at once.
        await call.write(group("other", "1b"))
        await eventually(lambda: held.waiting == 2)
        await call.write(group("other", "1c"))
        refusal = await refused(call)
        assert refusal.code == "INVALID_ARGUMENT"
        assert list(refusal.fields) == ["group.request_id"]
