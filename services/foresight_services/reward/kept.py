"""Whole answers that were kept, as they are sent to whoever asks for the same again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from foresight.v1 import reward_service_pb2 as pb
from foresight_services.core.kept_answers import KeptAnswer


def response_of(kept: KeptAnswer, request_id: str) -> pb.ComputeRewardsResponse:
    """Return the answer as one message.

    Args:
        kept: the answer; its message is used up.
        request_id: what the request is called now.
    """
    response = kept.form
    assert isinstance(response, pb.ComputeRewardsResponse), "kept by another codec"
    response.request_id = request_id
    response.usage.wall_time.FromTimedelta(timedelta(seconds=kept.seconds))
    for results in (response.results, response.baseline):
        for result in results:
            result.usage.wall_time.CopyFrom(response.usage.wall_time)
    return response


def events_of(
    kept: KeptAnswer, request_id: str, *, progress: bool
) -> Iterator[pb.StreamRewardsResponse]:
    """Yield the answer as the events of one group of a stream; see `response_of`."""
    response = response_of(kept, request_id)
    for result in response.results:
        if progress:
            for future in result.futures:
                done = pb.FutureDone(
                    candidate_index=result.candidate_index,
                    sample_index=future.sample_index,
                    ok=future.WhichOneof("outcome") == "objective",
                )
                yield pb.StreamRewardsResponse(request_id=request_id, future=done)
        yield pb.StreamRewardsResponse(request_id=request_id, candidate=result)
    del response.results[:]
    done_group = pb.GroupDone(summary=response)
    yield pb.StreamRewardsResponse(request_id=request_id, done=done_group)
