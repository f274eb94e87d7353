"""What a caller gets at its deadline: all that has ended, and why the rest is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight_services.core.seeds import derive_seed
from tests.fakes.held import Held
from tests.fakes.requests import game, simulation
from tests.fakes.servers import refusal_in, rest_of
from tests.fakes.waiting import eventually
from tests.rpc.topologies import both, rewards

T = TypeVar("T")


def first_policy_turn_of(*samples: int) -> Any:
    """Hold the first turn of the policy in these samples."""
    seeds = {derive_seed(0, sample, "assistant", 1) for sample in samples}
    return lambda request: "never" if request.seed in seeds else None


MARGIN_SECONDS = 4.0
"""Time before a deadline at which the service ends what it does."""


async def before_a_deadline(ask: Callable[[float], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Return what `ask` returns with a time limit by which all has ended that was not held.

    A machine that is busy gets more time, until it has enough of it.
    """
    seconds = 1.0
    while True:
        answer = await ask(MARGIN_SECONDS + seconds)
        if enough(answer) or seconds > 60:
            return answer
        seconds *= 2


@both
async def test_at_the_deadline_the_best_estimate_so_far_is_sent(topology: str, held: Held) -> None:
    # Sample 2 of every candidate never gets the answer to its first message.
    held.at = first_policy_turn_of(2)
    group = game(candidates=["one", "two"], simulation=simulation(least=2, most=3))
    async with rewards(topology, deadline_margin_seconds=MARGIN_SECONDS) as channel:
        stub = pb_grpc.RewardServiceStub(channel)
        response = await before_a_deadline(
            lambda seconds: stub.ComputeRewards(group, timeout=seconds),
            lambda answer: all(result.n_ok == 2 for result in answer.results),
        )
        await eventually(lambda: held.waiting == 0)
    for result in response.results:
        assert result.reward.status == pb.REWARD_STATUS_PARTIAL
        assert (result.n_ok, result.n_requested) == (2, 3)
        assert [f.WhichOneof("outcome") for f in result.futures] == [
            "objective",
            "objective",
            "error",
        ]
        assert refusal_in(result.futures[2].error).reason == "DEADLINE_EXCEEDED"


@both
async def test_at_the_deadline_too_few_futures_are_an_error_of_the_candidate(
    topology: str, held: Held
) -> None:
    held.at = first_policy_turn_of(1, 2)
    group = game(simulation=simulation(least=2, most=3))
    async with rewards(topology, deadline_margin_seconds=MARGIN_SECONDS) as channel:
        stub = pb_grpc.RewardServiceStub(channel)
        response = await before_a_deadline(
            lambda seconds: stub.ComputeRewards(group, timeout=seconds),
            lambda answer: answer.results[0].n_ok == 1,
        )
    (result,) = response.results
    refusal = refusal_in(result.error)
    assert (refusal.code, refusal.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert "1 of 3 futures succeeded, at least 2 are needed" in refusal.message
    assert (result.n_ok, result.n_requested) == (1, 3)


async def test_on_a_stream_the_deadline_ends_every_group_with_what_it_has(held: Held) -> None:
    held.at = first_policy_turn_of(1)

    def results(answers: list[Any]) -> list[Any]:
        return [a.candidate for a in answers if a.WhichOneof("event") == "candidate"]

    async with rewards("one process", deadline_margin_seconds=MARGIN_SECONDS) as channel:

        async def ask(seconds: float) -> list[Any]:
            call: Any = pb_grpc.RewardServiceStub(channel).StreamRewards(timeout=seconds)
            for name in ("one", "two"):
                group = game(request_id=name, simulation=simulation(least=1, most=2))
                await call.write(pb.StreamRewardsRequest(group=group))
            await call.done_writing()
            return await rest_of(call)

        answers = await before_a_deadline(
            ask, lambda answers: all(result.n_ok == 1 for result in results(answers))
        )
    assert len(answers) == 4
    partial = results(answers)
    assert [c.reward.status for c in partial] == [pb.REWARD_STATUS_PARTIAL] * 2
