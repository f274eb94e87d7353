"""The evaluator of another process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import grpc.aio

from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc
from foresight_services.core.errors import Failure, Upstream
from foresight_services.core.evaluation import check_score
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    FutureId,
    MetricInfo,
    MetricScore,
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
        session = RemoteSession(self._peer.name, call)
        try:
            await session.start(setup)
            yield session
        finally:
            await session.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """Whoever waits for scores of one conversation."""

    metrics: tuple[MetricInfo, ...]
    """The metrics that were asked for."""
    scores: asyncio.Future[ConversationScores]
    """What is waited for."""

    def take(self, scores: ConversationScores) -> None:
        """Hand over `scores`, of the metrics that were asked for."""
        checked = tuple(map(_checked, self.metrics, scores.scores))
        self.scores.set_result(replace(scores, scores=checked))


class RemoteSession:
    """Scores conversations on one stream; implements the port `EvaluationSession`.

    One task writes and one reads. The reader alone says how the stream ended: to whoever waits
    then, and to whoever asks later.
    """

    def __init__(self, peer_name: str, call: EvaluateCall) -> None:
        self._peer_name = peer_name
        self._call = call
        self._metrics: tuple[MetricInfo, ...] = ()
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[tuple[MetricInfo, ...]] = loop.create_future()
        # A conversation may be asked about several times at once, for different metrics.
        self._waiting: dict[FutureId, list[_Waiter]] = {}
        self._ended: Exception | None = None
        self._outbox: asyncio.Queue[pb.EvaluateRequest] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())
        self._reader = asyncio.create_task(self._read())
        # A write that fails after the stream has ended would replace the status that it ended with
        # by INTERNAL (grpc/grpc#36066), so there must be none.
        call.add_done_callback(self._stop_writing)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The metrics as they are applied."""
        return self._metrics

    async def start(self, setup: EvaluationSetup) -> None:
        """Send `setup` and return once the evaluator is ready for it."""
        self._outbox.put_nowait(pb.EvaluateRequest(setup=encode_setup(setup)))
        metrics = await self._ready
        titles = [spec.title for spec in setup.metrics]
        problem = _problem(metrics, titles)
        if problem is not None:
            raise unreachable(self._peer_name, problem)
        self._metrics = metrics

    async def close(self) -> None:
        """End the stream, whatever is still in flight on it."""
        self._call.cancel()
        self._writer.cancel()
        self._reader.cancel()
        await asyncio.gather(self._writer, self._reader, return_exceptions=True)

    async def score(self, item: EvaluationItem) -> ConversationScores:
        """Send one conversation and wait for its scores."""
        if self._ended is not None:
            raise self._ended
        applied = self._metrics
        if item.metrics is not None:
            applied = tuple(self._metrics[index] for index in item.metrics)
        waiter = _Waiter(applied, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(item.id, []).append(waiter)
        self._outbox.put_nowait(pb.EvaluateRequest(conversation=encode_item(item)))
        try:
            return await waiter.scores
        finally:
            others = self._waiting[item.id]
            others.remove(waiter)
            if not others:
                del self._waiting[item.id]

    def _stop_writing(self, _call: object) -> None:
        self._writer.cancel()

    async def _write(self) -> None:
        # A write fails only where the stream has ended, and the reader tells how.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await self._call.write(await self._outbox.get())

    async def _read(self) -> None:
        """Hand every answer to whom it is for, until the stream ends."""
        try:
            async for response in self._call:
                self._take(response)
            ended: Exception = unreachable(self._peer_name, "ended before all was scored")
        except grpc.aio.AioRpcError as error:
            ended = error_from_call(error, self._peer_name)
        except Exception as error:
            ended = error
        self._ended = ended
        if not self._ready.done():
            self._ready.set_exception(ended)
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.scores.done():
                    waiter.scores.set_exception(ended)

    def _take(self, response: pb.EvaluateResponse) -> None:
        if response.WhichOneof("response") == "ready":
            if not self._ready.done():
                self._ready.set_result(tuple(map(decode_info, response.ready.metrics)))
            return
        scores = decode_scores(response.scores)
        waiters = [one for one in self._waiting.get(scores.id, ()) if not one.scores.done()]
        if not waiters:
            return
        names = [score.name for score in scores.scores]
        for waiter in waiters:
            if names == [info.name for info in waiter.metrics]:
                waiter.take(scores)
                return
        # One that knows no selections gives all scores, which are enough for anybody.
        first = waiters[0]
        if names == [info.name for info in self._metrics]:
            wanted = {info.name for info in first.metrics}
            chosen = tuple(score for score in scores.scores if score.name in wanted)
            first.take(replace(scores, scores=chosen))
        else:
            problem = "did not give one score for every metric, in the order of the setup"
            first.scores.set_exception(unreachable(self._peer_name, problem))


def _problem(metrics: tuple[MetricInfo, ...], titles: list[str]) -> str | None:
    """Return what is wrong with an answer to a setup whose metrics have `titles`, or None."""
    if [info.name for info in metrics] != titles:
        return "did not accept the metrics of the setup one by one, under their labels"
    for info in metrics:
        ends = () if info.range is None else (info.range.low, info.range.high)
        if not all(map(math.isfinite, ends)) or list(ends) != sorted(ends) or info.judge_calls < 0:
            return f"told no valid range or number of judge calls of the metric {info.name!r}"
    return None


def _checked(info: MetricInfo, score: MetricScore) -> MetricScore:
    """Return `score`, or its failure where it is no score of the metric, whoever computed it."""
    if isinstance(score.outcome, Failure):
        return score
    try:
        check_score(info, score.outcome)
    except Upstream as error:
        return MetricScore(score.name, error.failure)
    return score
