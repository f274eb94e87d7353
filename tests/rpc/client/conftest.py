"""A reward service that says what a test wants, on a real server, and both clients behind one face.

Every test that takes `connect` runs twice: with the sync client, in a thread, and with the async.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from foresight import AsyncClient, Client
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc


class FakeRewardService(pb_grpc.RewardServiceServicer):
    """Answers every candidate with 0.5 unless a test replaces `compute` or `stream`."""

    def __init__(self) -> None:
        self.compute: Callable[[Any, Any], Any] = self.half
        self.stream: Callable[[Any, Any], Any] = self.half_each
        self.stored: Callable[[Any, Any], Any] = self.hang
        self.rescored: Callable[[Any, Any], Any] = self.hang
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.time_remaining: list[float | None] = []
        self.hanging = threading.Event()
        self.ended = threading.Event()
        self.gave_up = False

    def ComputeRewards(self, request, context):
        self.requests.append(request)
        self._record(context)
        return self.compute(request, context)

    def StreamRewards(self, requests, context):
        self._record(context)
        yield from self.stream(requests, context)

    def GetReward(self, request, context):
        self.requests.append(request)
        self._record(context)
        return self.stored(request, context)

    def RescoreReward(self, request, context):
        self.requests.append(request)
        self._record(context)
        return self.rescored(request, context)

    def half(self, request, context):
        """Answer every candidate."""
        return pb.ComputeRewardsResponse(
            request_id=request.request_id or "made-by-service",
            results=[self.candidate(i) for i in range(len(request.candidates))],
            profile="release",
        )

    def half_each(self, requests, context):
        """Answer every candidate of every group, one by one."""
        for request in requests:
            self.requests.append(request.group)
            for i in range(len(request.group.candidates)):
                yield self.event(request, candidate=self.candidate(i))
            summary = pb.ComputeRewardsResponse(
                request_id=request.group.request_id, profile="release"
            )
            yield self.event(request, done=pb.GroupDone(summary=summary))

    def hang(self, request, context):
        """Answer nothing until the call has ended for the client."""
        self.hanging.set()
        self.gave_up = not self.ended.wait(20)
        return pb.ComputeRewardsResponse()

    def hang_stream(self, requests, context):
        """Answer nothing until the stream has ended for the client."""
        self.hang(requests, context)
        return iter(())

    @staticmethod
    def candidate(index, value=0.5, **fields):
        """Make the result of a candidate whose three futures succeeded."""
        return pb.CandidateResult(
            candidate_index=index,
            reward=pb.Reward(value=value, status=pb.REWARD_STATUS_COMPLETE),
            n_ok=3,
            n_requested=3,
            **fields,
        )

    @staticmethod
    def event(request, **event):
        """Make an event of the group of `request`."""
        return pb.StreamRewardsResponse(request_id=request.name, **event)

    def _record(self, context):
        self.metadata.append({item.key: item.value for item in context.invocation_metadata()})
        self.time_remaining.append(context.time_remaining())
        if not context.add_callback(self.ended.set):  # it has ended already
            self.ended.set()


@pytest.fixture
def service() -> Iterator[FakeRewardService]:
    """The service behind `target`; no call may outlive its client."""
    service = FakeRewardService()
    yield service
    assert not service.gave_up


USED_PORTS: set[int] = set()
"""Ports that servers of this process have had. All channels of a process share what gRPC knows of
an address: while one is open to a server that is gone, another to the next server there fails at
once, its connection refused. So no port is used twice."""


@pytest.fixture
def serve(service) -> Iterator[Callable[..., int]]:
    """Start a server for `service`, with TLS where credentials are given; return its port."""
    servers = []

    def start(credentials: grpc.ServerCredentials | None = None) -> int:
        address, port = "127.0.0.1:0", 0
        while not port or port in USED_PORTS:
            server = grpc.server(ThreadPoolExecutor(max_workers=4))
            servers.append(server)
            pb_grpc.add_RewardServiceServicer_to_server(service, server)
            port = (
                server.add_insecure_port(address)
                if credentials is None
                else server.add_secure_port(address, credentials)
            )
        USED_PORTS.add(port)
        server.start()
        return port

    yield start
    for server in servers:
        server.stop(None).wait()
    service.ended.set()


@pytest.fixture
def target(serve) -> str:
    """Address of a plaintext server."""
    return f"127.0.0.1:{serve()}"


@pytest.fixture
def request_fields() -> dict[str, Any]:
    """The smallest complete request, two candidates."""
    return {
        "task": {"goal": "the positive root"},
        "prefix": [{"role": "user", "content": "Can you help?"}],
        "candidates": ["Sure.", "x = 2."],
    }


@pytest.fixture
def groups(request_fields):
    """Three groups, of one, two and one candidates."""
    return [
        request_fields | {"candidates": ["a"]},
        request_fields | {"request_id": "named", "candidates": ["b", "c"]},
        request_fields | {"candidates": ["d"]},
    ]


class SyncFace:
    """The sync client, called from a thread."""

    def __init__(self, *args, **kwargs) -> None:
        self.client = Client(*args, **kwargs)

    async def compute(self, **kwargs):
        return await asyncio.to_thread(self.client.compute_rewards, **kwargs)

    async def send(self, *args, **kwargs):
        return await asyncio.to_thread(self.client.send, *args, **kwargs)

    async def get_reward(self, *args, **kwargs):
        return await asyncio.to_thread(self.client.get_reward, *args, **kwargs)

    async def rescore_reward(self, *args, **kwargs):
        return await asyncio.to_thread(self.client.rescore_reward, *args, **kwargs)

    async def stream(self, requests, *, into=None, **kwargs):
        events = [] if into is None else into

        def read():
            for event in self.client.stream_rewards(requests, **kwargs):
                events.append(event)

        await asyncio.to_thread(read)
        return events

    async def close(self):
        self.client.close()


class AsyncFace:
    """The async client."""

    def __init__(self, *args, **kwargs) -> None:
        self.client = AsyncClient(*args, **kwargs)

    async def compute(self, **kwargs):
        return await self.client.compute_rewards(**kwargs)

    async def send(self, *args, **kwargs):
        return await self.client.send(*args, **kwargs)

    async def get_reward(self, *args, **kwargs):
        return await self.client.get_reward(*args, **kwargs)

    async def rescore_reward(self, *args, **kwargs):
        return await self.client.rescore_reward(*args, **kwargs)

    async def stream(self, requests, *, into=None, **kwargs):
        events = [] if into is None else into
        async for event in self.client.stream_rewards(requests, **kwargs):
            events.append(event)
        return events

    async def close(self):
        await self.client.close()


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
async def connect(request):
    """Make clients that are closed after the test."""
    faces = []

    def make(*args, **kwargs):
        face = request.param(*args, **kwargs)
        faces.append(face)
        return face

    yield make
    for face in faces:
        await face.close()
