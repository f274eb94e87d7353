"""Streams: the order of events, and groups that are refused while the stream goes on."""

from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from foresight import (
    CandidateEvent,
    FutureEvent,
    GroupEvent,
    InternalError,
    UnknownPolicyError,
    build_request,
)
from foresight.v1 import reward_service_pb2 as pb


def names(events):
    return [(type(event).__name__.removesuffix("Event"), event.request_id) for event in events]


async def test_events_come_in_the_order_of_the_service(connect, target, service, groups):
    events = await connect(target).stream(groups)
    assert names(events) == [
        ("Candidate", "0"),
        ("Group", "0"),
        ("Candidate", "named"),
        ("Candidate", "named"),
        ("Group", "named"),
        ("Candidate", "2"),
        ("Group", "2"),
    ]
    assert all(isinstance(event, CandidateEvent | GroupEvent) for event in events)
    group = events[4]
    assert group.error is None
    assert group.rewards.values == [0.5, 0.5]
    assert group.rewards.candidates == (events[2].candidate, events[3].candidate)
    assert (group.rewards.request_id, group.rewards.profile) == ("named", "release")


async def test_groups_may_be_messages_and_are_left_as_they_are(connect, target, service, groups):
    messages = [build_request(group) for group in groups]
    await connect(target).stream(messages)
    assert [request.request_id for request in service.requests] == ["", "named", ""]
    assert [message.request_id for message in messages] == ["", "named", ""]


async def test_candidates_of_groups_may_be_mixed_up(connect, target, service, groups):
    def stream(requests, context):
        first, second, third = list(requests)
        yield service.event(second, candidate=service.candidate(1, 0.1))
        yield service.event(third, candidate=service.candidate(0, 0.3))
        yield service.event(second, candidate=service.candidate(0, 0.0))
        for request in (third, second):
            yield service.event(request, done=pb.GroupDone(summary=pb.ComputeRewardsResponse()))

    service.stream = stream
    events = await connect(target).stream(groups)
    assert names(events)[-2:] == [("Group", "2"), ("Group", "named")]
    assert events[-2].rewards.values == [0.3]
    assert events[-1].rewards.values == [0.0, 0.1]


async def test_progress_is_asked_for(connect, target, service, groups):
    asked = []

    def stream(requests, context):
        for request in requests:
            asked.append(request.progress)
            if request.progress:
                future = pb.FutureDone(candidate_index=0, sample_index=2, ok=True)
                yield service.event(request, future=future)
            yield service.event(request)  # a kind of event that this client does not know

    service.stream = stream
    client = connect(target)
    assert await client.stream(groups[:1], progress=True) == [FutureEvent("0", 0, 2, True)]
    assert await client.stream(groups[:1]) == []
    assert asked == [True, False]


async def test_a_refused_group_does_not_end_the_stream(connect, target, service, groups):
    def stream(requests, context):
        for request in requests:
            if request.group.request_id == "named":
                refusal = Status(code=5, message="no such policy")
                info = ErrorInfo(reason="UNKNOWN_POLICY", domain="foresight.v1")
                refusal.details.add().Pack(info)
                yield service.event(request, done=pb.GroupDone(error=refusal))
            else:
                yield service.event(request, candidate=service.candidate(0))
                yield service.event(request, done=pb.GroupDone(summary=pb.ComputeRewardsResponse()))

    service.stream = stream
    events = await connect(target).stream(groups)
    assert [name for name in names(events) if name[0] == "Group"] == [
        ("Group", "0"),
        ("Group", "named"),
        ("Group", "2"),
    ]
    refused = events[2]
    assert refused.rewards is None
    assert isinstance(refused.error, UnknownPolicyError)
    assert str(refused.error) == "no such policy"
    assert events[-1].rewards.values == [0.5]


async def test_a_group_without_all_its_candidates_has_an_error(connect, target, service, groups):
    def stream(requests, context):
        for request in requests:
            yield service.event(request, candidate=service.candidate(1))
            yield service.event(request, done=pb.GroupDone(summary=pb.ComputeRewardsResponse()))
            yield service.event(request, done=pb.GroupDone())

    service.stream = stream
    events = await connect(target).stream(groups[1:2])
    assert [type(event.error) for event in events[1:]] == [InternalError, InternalError]
    assert str(events[1].error) == ("the service answered for candidates [1] of a request with 2")
    assert str(events[2].error) == "the service sent neither a summary nor an error"
    assert events[1].rewards is None


async def test_an_empty_stream(connect, target):
    assert await connect(target).stream([]) == []
