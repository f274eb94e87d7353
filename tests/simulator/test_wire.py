"""What prompted models need of a request, and how a future can end, over the wire."""

from __future__ import annotations

import pytest

from foresight.v1 import reward_service_pb2 as pb
from foresight_services.core.future import Future, FutureId, SimulatedFuture, Termination
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Usage
from foresight_services.reward.codec import decode_query
from foresight_services.rpc.codec import decode_termination, encode_termination
from foresight_services.simulator import codec
from tests.fakes.simulation import simulation_request


def test_shares_are_read() -> None:
    simulation = pb.Simulation(system_prompt_share=0.29, proactive_share=1.0)

    query = decode_query(pb.ComputeRewardsRequest(simulation=simulation))

    assert (query.system_prompt_share, query.proactive_share) == (0.29, 1.0)


def test_a_share_that_is_left_out_is_0() -> None:
    query = decode_query(pb.ComputeRewardsRequest())

    assert (query.system_prompt_share, query.proactive_share) == (0.0, 0.0)


@pytest.mark.parametrize("ended", Termination)
def test_every_end_of_a_future_travels(ended: Termination) -> None:
    assert decode_termination(encode_termination(ended)) is ended


def test_a_request_travels_whole() -> None:
    request = simulation_request(samples=2, system_prompt_samples=2, proactive_samples=1)

    assert codec.decode_request(codec.encode_request(request)) == request


def test_a_future_travels_with_its_persona() -> None:
    ref = PolicyRef("policy", 3)
    played = SimulatedFuture("goal", (), Termination.HORIZON, ref, "terse_texter")
    future = Future(FutureId(0, 1), played, Usage())

    assert codec.decode_future(codec.encode_future(future)) == future
