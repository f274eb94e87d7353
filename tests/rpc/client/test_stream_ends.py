"""Streams: how they end early, by the service, by a deadline or by the caller."""

import asyncio
import contextlib
import threading

import grpc
import pytest

from foresight import (
    AsyncClient,
    CandidateEvent,
    Client,
    DeadlineExceededError,
    GroupEvent,
    InternalError,
    InvalidRequestError,
    ServiceUnavailableError,
    UnauthenticatedError,
)


async def test_a_failed_stream_raises_after_what_came_before(connect, target, service, groups):
    def stream(requests, context):
        yield service.event(next(requests), candidate=service.candidate(0))
        context.abort(grpc.StatusCode.INTERNAL, "lost")

    service.stream = stream
    events: list = []
    with pytest.raises(InternalError, match="lost$"):
        await connect(target).stream(groups, into=events)
    assert [type(event) for event in events] == [CandidateEvent]


async def test_a_refused_stream_tells_why_while_groups_are_written(
    connect, target, service, groups
):
    def stream(requests, context):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    service.stream = stream
    client = connect(target)
    for _ in range(30):
        with pytest.raises(UnauthenticatedError, match="who are you"):
            await client.stream(groups)


async def test_a_stream_is_tried_again_until_it_has_begun_to_answer(
    connect, target, service, groups
):
    def stream(requests, context):
        if len(service.metadata) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return service.half_each(requests, context)

    service.stream = stream
    assert len(await connect(target).stream(groups)) == 7
    assert len(service.metadata) == 2

    def broken(requests, context):
        yield service.event(next(requests), candidate=service.candidate(0))
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    service.stream = broken
    with pytest.raises(Exception, match="gone"):
        await connect(target).stream(groups)
    assert len(service.metadata) == 3


async def test_a_stream_that_the_service_cancels_is_an_error(connect, target, service, groups):
    def stream(requests, context):
        yield service.event(next(requests), candidate=service.candidate(0))
        context.abort(grpc.StatusCode.CANCELLED, "going away")

    service.stream = stream
    with pytest.raises(ServiceUnavailableError, match="going away"):
        await connect(target).stream(groups)


async def test_a_deadline_ends_a_stream(connect, target, service, groups):
    service.stream = service.hang_stream
    with pytest.raises(DeadlineExceededError):
        await connect(target).stream(groups, timeout=0.3)
    # A machine that is busy may not get as far as the service in that time.
    assert not service.metadata or await asyncio.to_thread(service.ended.wait, 30)


async def test_a_wrong_group_ends_the_stream(connect, target, groups):
    groups[1]["task"] = {"gaol": "x"}
    with pytest.raises(InvalidRequestError, match="^task.gaol: unknown field"):
        await connect(target).stream(groups)


async def test_what_the_groups_raise_is_raised(connect, target, service, groups):
    service.stream = service.hang_stream

    def broken():
        yield groups[0]
        service.hanging.wait(30)
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        await connect(target).stream(broken())
    assert await asyncio.to_thread(service.ended.wait, 30)


async def test_groups_may_depend_on_events(target, groups):
    """A group can be sent after the result of the one before was seen."""
    seen: asyncio.Queue = asyncio.Queue()

    async def one_by_one():
        for group in groups:
            yield group
            await seen.get()

    async with AsyncClient(target) as client:
        ended = 0
        async for event in client.stream_rewards(one_by_one()):
            if isinstance(event, GroupEvent):
                ended += 1
                seen.put_nowait(event)
    assert ended == 3


@pytest.fixture
def endless(service):
    """Let the service answer one candidate and then wait for the end of the stream."""

    def stream(requests, context):
        yield service.event(next(requests), candidate=service.candidate(0))
        service.hang(requests, context)

    service.stream = stream


def test_leaving_a_sync_stream_cancels_it(target, service, endless, groups):
    never = threading.Event()

    def unending():
        yield groups[0]
        never.wait(30)

    with Client(target) as client:
        with contextlib.closing(client.stream_rewards(unending())) as events:
            assert isinstance(next(events), CandidateEvent)
        assert service.ended.wait(30)
        never.set()


async def test_leaving_an_async_stream_cancels_it(target, service, endless, groups):
    released = False

    async def unending():
        nonlocal released
        try:
            yield groups[0]
            await asyncio.Event().wait()
        finally:
            released = True

    async with AsyncClient(target) as client:
        events = client.stream_rewards(unending())
        async with contextlib.aclosing(events):
            assert isinstance(await anext(events), CandidateEvent)
        assert released
        assert await asyncio.to_thread(service.ended.wait, 30)


async def test_cancelling_an_async_stream_cancels_it_in_the_service(
    target, service, endless, groups
):
    async def read(client):
        return [event async for event in client.stream_rewards(groups)]

    async with AsyncClient(target) as client:
        reading = asyncio.create_task(read(client))
        await asyncio.to_thread(service.hanging.wait, 30)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await asyncio.to_thread(service.ended.wait, 30)
