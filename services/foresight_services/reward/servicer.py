"""RewardService over gRPC."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing

from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc
from foresight_services.core.errors import InvalidInput, Violation, failure_from
from foresight_services.core.kept_answers import KeptAnswer
from foresight_services.core.merge import merge
from foresight_services.core.ports import Clock
from foresight_services.core.request import MAX_REQUEST_ID
from foresight_services.core.result import CandidateResult, FutureFinished, GroupSummary
from foresight_services.core.reward import Event, Rewards
from foresight_services.reward.codec import (
    decode_query,
    decode_rescore,
    encode_progress,
    encode_record,
    encode_result,
    encode_summary,
)
from foresight_services.reward.kept import events_of, response_of
from foresight_services.rpc.deadline import ServerContext, deadline_of
from foresight_services.rpc.status import encode_failure


class RewardServicer(reward_service_pb2_grpc.RewardServiceServicer):
    """Answers RewardService's calls."""

    def __init__(self, rewards: Rewards, clock: Clock) -> None:
        self._rewards = rewards
        self._clock = clock

    async def ComputeRewards(
        self, request: pb.ComputeRewardsRequest, context: ServerContext
    ) -> pb.ComputeRewardsResponse:
        """Return the rewards of one group."""
        return await _response(
            self._compute(request, context), _request_id(request), request.include_futures
        )

    async def StreamRewards(
        self, request_iterator: AsyncIterator[pb.StreamRewardsRequest], context: ServerContext
    ) -> AsyncIterator[pb.StreamRewardsResponse]:
        """Send every candidate's result as soon as it is known."""
        answers = merge(self._groups(request_iterator, context))
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    async def GetReward(
        self, request: pb.GetRewardRequest, context: ServerContext
    ) -> pb.GetRewardResponse:
        """Return a stored reward and what it rests on."""
        return encode_record(await self._rewards.stored(request.reward_id))

    async def RescoreReward(
        self, request: pb.RescoreRewardRequest, context: ServerContext
    ) -> pb.RescoreRewardResponse:
        """Return a stored candidate's reward by another objective."""
        deadline = deadline_of(context, self._clock)
        events = self._rewards.rescore(decode_rescore(request), deadline=deadline)
        rewards = await _response(events, uuid.uuid4().hex, request.include_futures)
        return pb.RescoreRewardResponse(rewards=rewards)

    def _compute(
        self, request: pb.ComputeRewardsRequest, context: ServerContext
    ) -> AsyncGenerator[Event, None]:
        deadline = deadline_of(context, self._clock)
        return self._rewards.compute(
            decode_query(request), deadline=deadline, texts=request.include_futures
        )

    async def _groups(
        self, requests: AsyncIterator[pb.StreamRewardsRequest], context: ServerContext
    ) -> AsyncIterator[AsyncGenerator[pb.StreamRewardsResponse, None]]:
        """Yield, for each group as it comes in, the stream of its events."""
        in_flight: set[str] = set()
        async for request in requests:
            name = request.name or _request_id(request.group)
            # Answers by a wrong name would be taken for another request's, a refusal included.
            field = "name" if request.name else "group.request_id"
            if name in in_flight:
                problem = f"{name[:64]!r} names a request in flight on this stream; use another"
                raise InvalidInput((Violation(field, problem),))
            if len(name) > MAX_REQUEST_ID and request.name:
                problem = f"has {len(name)} characters; at most {MAX_REQUEST_ID}"
                raise InvalidInput((Violation(field, problem),))
            in_flight.add(name)
            yield self._group(name, request, context, in_flight)

    async def _group(
        self,
        name: str,
        request: pb.StreamRewardsRequest,
        context: ServerContext,
        in_flight: set[str],
    ) -> AsyncGenerator[pb.StreamRewardsResponse, None]:
        """Yield the events of one group of a stream; a refusal is an event too."""
        group = request.group
        try:
            async with aclosing(self._compute(group, context)) as events:
                async for event in events:
                    for answer in _encode_event(name, event, request):
                        yield answer
        except Exception as error:
            refusal = pb.GroupDone(error=encode_failure(failure_from(error)))
            yield pb.StreamRewardsResponse(request_id=name, done=refusal)
        finally:
            in_flight.discard(name)


async def _response(
    events: AsyncGenerator[Event, None], request_id: str, include_futures: bool
) -> pb.ComputeRewardsResponse:
    """Return all that `events` tells as one message."""
    results: list[CandidateResult] = []
    summary: GroupSummary | None = None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, CandidateResult):
                results.append(event)
            elif isinstance(event, GroupSummary):
                summary = event
            elif isinstance(event, KeptAnswer):
                return response_of(event, request_id)
    if summary is None:
        raise AssertionError("a computation ended without its summary")
    response = encode_summary(request_id, summary, include_futures=include_futures, leads=False)
    response.results.extend(
        encode_result(summary.standing(result), include_futures=include_futures)
        for result in sorted(results, key=lambda result: result.index)
    )
    return response


def _request_id(request: pb.ComputeRewardsRequest) -> str:
    return request.request_id or uuid.uuid4().hex


def _encode_event(
    name: str, event: Event, request: pb.StreamRewardsRequest
) -> Iterable[pb.StreamRewardsResponse]:
    match event:
        case CandidateResult():
            texts = request.group.include_futures
            result = encode_result(event, include_futures=texts)
            return (pb.StreamRewardsResponse(request_id=name, candidate=result),)
        case GroupSummary():
            texts = request.group.include_futures
            summary = encode_summary(name, event, include_futures=texts)
            done = pb.GroupDone(summary=summary)
            return (pb.StreamRewardsResponse(request_id=name, done=done),)
        case FutureFinished():
            if not request.progress:
                return ()
            return (pb.StreamRewardsResponse(request_id=name, future=encode_progress(event)),)
        case KeptAnswer():
            return events_of(event, name, progress=request.progress)
