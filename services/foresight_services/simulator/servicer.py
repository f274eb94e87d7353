"""SimulatorService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from foresight.v1 import simulator_service_pb2 as pb
from foresight.v1 import simulator_service_pb2_grpc as pb_grpc
from foresight_services.core.ports import Clock, Simulator
from foresight_services.rpc.codec import decode_policy
from foresight_services.rpc.deadline import ServerContext, deadline_of
from foresight_services.simulator.codec import decode_request, encode_future
from foresight_services.simulator.message_codec import decode_message_request, encode_sample


class SimulatorServicer(pb_grpc.SimulatorServiceServicer):
    """Answers SimulatorService's calls."""

    def __init__(self, simulator: Simulator, clock: Clock) -> None:
        self._simulator = simulator
        self._clock = clock

    async def GetFingerprint(
        self, request: pb.GetFingerprintRequest, context: ServerContext
    ) -> pb.GetFingerprintResponse:
        """Say what determines the futures of a policy."""
        fingerprint = await self._simulator.fingerprint(
            decode_policy(request.policy), deadline=deadline_of(context, self._clock)
        )
        return pb.GetFingerprintResponse(fingerprint=fingerprint)

    async def SimulateFutures(
        self, request: pb.SimulateFuturesRequest, context: ServerContext
    ) -> AsyncIterator[pb.SimulateFuturesResponse]:
        """Send each future as it finishes."""
        deadline = deadline_of(context, self._clock)
        futures = self._simulator.simulate(decode_request(request), deadline=deadline)
        async with aclosing(futures):
            async for future in futures:
                yield encode_future(future)

    async def SampleMessages(
        self, request: pb.SampleMessagesRequest, context: ServerContext
    ) -> AsyncIterator[pb.SampleMessagesResponse]:
        """Send each message as it is sampled."""
        deadline = deadline_of(context, self._clock)
        asked = decode_message_request(request)
        samples = self._simulator.sample_messages(asked, deadline=deadline)
        async with aclosing(samples):
            async for sample in samples:
                yield encode_sample(sample)
