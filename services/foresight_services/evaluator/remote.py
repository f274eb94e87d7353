"""The evaluator of another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio

from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    FutureId,
    MetricInfo,
)
from foresight_services.core.ports import Clock
from foresight_services.evaluator.codec import decode_scores, encode_item, encode_setup
from foresight_services.rpc.channel import Peer
from foresight_services.rpc.codec import decode_info
from foresight_services.rpc.deadline import seconds_left
from foresight_services.rpc.status import error_from_call, unreachable

EvaluateCall = grpc.aio.StreamStreamCall[pb.EvaluateRequest, pb.EvaluateResponse]


class RemoteEvaluator:
    """Calls EvaluatorService; implements the port `Evaluator`."""

    def __init__(self, peer: Peer, clock: Clock) -> None:
        self._peer = peer
        self._stub = pb_grpc.EvaluatorServiceStub(peer.channel)
        self._clock = clock

    @asynccontextmanager
    async def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AsyncIterator[RemoteSession]:
        """Open one stream for all conversations of `setup`; see the port."""
        call: EvaluateCall = self._stub.Evaluate(
            timeout=seconds_left(deadline, self._clock), metadata=self._peer.metadata
        )
        try:
            session = await RemoteSession.start(self._peer.name, call, setup)
            reader = asyncio.create_task(session.read())
            try:
                yield session
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
        finally:
            call.cancel()


class RemoteSession:
    """Scores conversations on one stream; implements the port `EvaluationSession`."""

    def __init__(self, peer_name: str, call: EvaluateCall, metrics: tuple[MetricInfo, ...]) -> None:
        self._peer_name = peer_name
        self._call = call
        self._metrics = metrics
        self._waiting: dict[FutureId, asyncio.Future[ConversationScores]] = {}
        # gRPC allows one write at a time on a stream.
        self._writing = asyncio.Lock()
        self._broken: Exception | None = None

    @classmethod
    async def start(
        cls, peer_name: str, call: EvaluateCall, setup: EvaluationSetup
    ) -> RemoteSession:
        """Send `setup` and return the session once the evaluator is ready for it."""
        try:
            await call.write(pb.EvaluateRequest(setup=encode_setup(setup)))
            response: Any = await call.read()
        except grpc.aio.AioRpcError as error:
            raise error_from_call(error, peer_name) from error
        if response is grpc.aio.EOF or response.WhichOneof("response") != "ready":
            raise unreachable(peer_name, "ended before it was ready")
        return cls(peer_name, call, tuple(decode_info(info) for info in response.ready.metrics))

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The metrics as they are applied."""
        return self._metrics

    async def score(self, item: EvaluationItem) -> ConversationScores:
        """Send one conversation and wait for its scores."""
        if self._broken is not None:
            raise self._broken
        waiter: asyncio.Future[ConversationScores] = asyncio.get_running_loop().create_future()
        self._waiting[item.id] = waiter
        try:
            # A write fails only where the stream has ended; its reader knows why, and tells.
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                async with self._writing:
                    await self._call.write(pb.EvaluateRequest(conversation=encode_item(item)))
            return await waiter
        finally:
            self._waiting.pop(item.id, None)

    async def read(self) -> None:
        """Hand every answer to whom it is for, until the stream ends."""
        try:
            async for response in self._call:
                scores = decode_scores(response.scores)
                waiter = self._waiting.get(scores.id)
                if waiter is not None and not waiter.done():
                    if len(scores.scores) == len(self._metrics):
                        waiter.set_result(scores)
                    else:
                        waiter.set_exception(
                            unreachable(self._peer_name, "left out a metric's score")
                        )
            self._fail(unreachable(self._peer_name, "ended before every conversation was scored"))
        except grpc.aio.AioRpcError as error:
            self._fail(error_from_call(error, self._peer_name))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._broken = error
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(error)
