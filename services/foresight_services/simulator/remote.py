"""The simulator of another process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

import grpc
import grpc.aio

from foresight.v1 import simulator_service_pb2 as pb
from foresight.v1 import simulator_service_pb2_grpc as pb_grpc
from foresight_services.core.deadline import until
from foresight_services.core.future import Future, SimulationRequest
from foresight_services.core.message_request import MessageRequest, SampledMessage
from foresight_services.core.ports import Clock
from foresight_services.core.task import PolicyRef
from foresight_services.rpc.channel import Peer
from foresight_services.rpc.codec import encode_policy
from foresight_services.rpc.deadline import seconds_left
from foresight_services.rpc.status import error_from_call
from foresight_services.simulator.codec import decode_future, encode_request
from foresight_services.simulator.message_codec import decode_sample, encode_message_request


class RemoteSimulator:
    """Calls SimulatorService; implements the port `Simulator`."""

    def __init__(self, peer: Peer, clock: Clock) -> None:
        self._peer = peer
        self._stub = pb_grpc.SimulatorServiceStub(peer.channel)
        self._clock = clock

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        """Ask the other process; empty where it does not know the question."""
        try:
            response = await self._stub.GetFingerprint(
                pb.GetFingerprintRequest(policy=encode_policy(policy)),
                timeout=seconds_left(deadline, self._clock),
                metadata=self._peer.metadata,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return ""
            raise error_from_call(error, self._peer.name) from error
        return response.fingerprint

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield futures as the other process sends them; see the port."""
        if request.shared is None:
            async with aclosing(self._call(request, deadline)) as futures:
                async for future in futures:
                    yield future
            return
        async with AsyncExitStack() as stack:
            async with until(deadline, self._clock):
                # The other process keeps an account for each call, so one call has all of it.
                loan = await stack.enter_async_context(request.shared.lent())
            alone = replace(request, budget=loan.budget, shared=None)
            async with aclosing(self._call(alone, deadline)) as futures:
                async for future in futures:
                    loan.book(future.charged or future.usage.cost)
                    yield future

    async def sample_messages(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield samples as the other process sends them; see the port."""
        call = self._stub.SampleMessages(
            encode_message_request(request),
            timeout=seconds_left(deadline, self._clock),
            metadata=self._peer.metadata,
        )
        try:
            async for response in call:
                yield decode_sample(response)
        except grpc.aio.AioRpcError as error:
            raise error_from_call(error, self._peer.name) from error
        finally:
            call.cancel()

    async def _call(
        self, request: SimulationRequest, deadline: float | None
    ) -> AsyncGenerator[Future, None]:
        call = self._stub.SimulateFutures(
            encode_request(request),
            timeout=seconds_left(deadline, self._clock),
            metadata=self._peer.metadata,
        )
        try:
            async for response in call:
                yield decode_future(response)
        except grpc.aio.AioRpcError as error:
            raise error_from_call(error, self._peer.name) from error
        finally:
            call.cancel()
