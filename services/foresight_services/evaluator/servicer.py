"""EvaluatorService over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc
from foresight_services.core import checks
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import ConversationScores, EvaluationItem, EvaluationSetup
from foresight_services.core.ports import Clock, EvaluationSession, Evaluator
from foresight_services.evaluator.codec import decode_item, decode_setup, encode_scores
from foresight_services.rpc.codec import encode_info
from foresight_services.rpc.deadline import ServerContext, deadline_of


class EvaluatorServicer(pb_grpc.EvaluatorServiceServicer):
    """Answers EvaluatorService's calls."""

    def __init__(self, evaluator: Evaluator, clock: Clock) -> None:
        self._evaluator = evaluator
        self._clock = clock

    async def Evaluate(
        self, request_iterator: AsyncIterator[pb.EvaluateRequest], context: ServerContext
    ) -> AsyncIterator[pb.EvaluateResponse]:
        """Check the setup, then answer each conversation with its scores."""
        first = await anext(request_iterator, pb.EvaluateRequest())
        if first.WhichOneof("request") != "setup":
            raise InvalidInput((Violation("setup", "is missing; it must be the first request"),))
        setup = decode_setup(first.setup)
        deadline = deadline_of(context, self._clock)
        async with self._evaluator.open(setup, deadline=deadline) as session:
            infos = [encode_info(info) for info in session.metrics]
            yield pb.EvaluateResponse(ready=pb.EvaluationReady(metrics=infos))
            async with aclosing(_scored(session, request_iterator, setup)) as scored:
                async for scores in scored:
                    yield pb.EvaluateResponse(scores=encode_scores(scores))


async def _scored(
    session: EvaluationSession, requests: AsyncIterator[pb.EvaluateRequest], setup: EvaluationSetup
) -> AsyncGenerator[ConversationScores, None]:
    """Yield the scores of each conversation as they come; the first exception ends it.

    Close the generator to cancel what has not finished; it returns when everything has stopped.
    """
    running: set[asyncio.Task[ConversationScores]] = set()
    ended: asyncio.Queue[asyncio.Task[ConversationScores] | asyncio.Task[None]] = asyncio.Queue()

    def end(task: asyncio.Task[ConversationScores]) -> None:
        running.discard(task)
        ended.put_nowait(task)

    async def begin_all() -> None:
        async for request in requests:
            task = asyncio.create_task(session.score(_item(request, setup)))
            running.add(task)
            task.add_done_callback(end)

    reader = asyncio.create_task(begin_all())
    reader.add_done_callback(ended.put_nowait)
    reading = True
    try:
        while running or reading or not ended.empty():
            scores = (await ended.get()).result()
            if scores is None:
                reading = False
            else:
                yield scores
    finally:
        tasks = (reader, *running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _item(request: pb.EvaluateRequest, setup: EvaluationSetup) -> EvaluationItem:
    """Return the conversation that `request` brings."""
    if request.WhichOneof("request") != "conversation":
        problem = "is missing; every request after the setup must be a conversation"
        raise InvalidInput((Violation("conversation", problem),))
    item = decode_item(request.conversation)
    checks.require(_violations(item, setup))
    return item


def _violations(item: EvaluationItem, setup: EvaluationSetup) -> Iterator[Violation]:
    last = len(setup.candidates) - 1
    yield from checks.integer("conversation.candidate_index", item.id.candidate, 0, last)
    yield from checks.roles("conversation.messages", item.messages)
    applied = setup.applied(item)
    for place, index in enumerate(applied):
        path = f"conversation.metrics[{place}]"
        yield from checks.integer(path, index, 0, len(setup.metrics) - 1)
    if list(applied) != sorted(set(applied)):
        yield Violation("conversation.metrics", "must be in ascending order, each once")
