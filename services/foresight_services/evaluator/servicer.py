"""EvaluatorService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc
from foresight_services.core import checks
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationItem, EvaluationSetup
from foresight_services.core.merge import merge
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
            answers = merge(_answers(session, request_iterator, setup))
            async with aclosing(answers):
                async for answer in answers:
                    yield answer


async def _answers(
    session: EvaluationSession, requests: AsyncIterator[pb.EvaluateRequest], setup: EvaluationSetup
) -> AsyncIterator[AsyncGenerator[pb.EvaluateResponse, None]]:
    """Yield, for each conversation as it comes in, the stream of its one answer."""
    async for request in requests:
        if request.WhichOneof("request") != "conversation":
            problem = "is missing; every request after the setup must be a conversation"
            raise InvalidInput((Violation("conversation", problem),))
        item = decode_item(request.conversation)
        checks.require(_violations(item, setup))
        yield _answer(session, item)


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


async def _answer(
    session: EvaluationSession, item: EvaluationItem
) -> AsyncGenerator[pb.EvaluateResponse, None]:
    scores = await session.score(item)
    yield pb.EvaluateResponse(scores=encode_scores(scores))
