"""An evaluator of one metric, `politeness`, on grpcio and the stubs of `foresight.v1` alone.

    python evaluator.py --listen 127.0.0.1:50060

The protocol, one stream for each request: the setup comes first and is answered by `ready` or
refused; every later request is a conversation, answered once by its scores.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from foresight.v1 import conversation_pb2, metric_pb2
from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc

METRIC, VERSION = "politeness", "1"
PHRASES = ("please", "thank", "sorry", "welcome", "glad", "happy to")
MOST_BYTES = 64 << 20

Context = grpc.aio.ServicerContext[pb.EvaluateRequest, pb.EvaluateResponse]


class Politeness(pb_grpc.EvaluatorServiceServicer):
    """Scores the share of the assistant's messages, from the candidate on, that are polite."""

    async def Evaluate(
        self, requests: AsyncIterator[pb.EvaluateRequest], context: Context
    ) -> AsyncIterator[pb.EvaluateResponse]:
        """Check the setup, then answer each conversation with its scores."""
        first = await anext(requests, pb.EvaluateRequest())
        if first.WhichOneof("request") != "setup":
            await refuse(context, {"setup": "is missing; it must be the first request"})
        setup = first.setup
        if problems := problems_of(setup):
            await refuse(context, problems)
        infos = [info(spec) for spec in setup.metrics]
        yield pb.EvaluateResponse(ready=pb.EvaluationReady(metrics=infos))
        async for request in requests:
            if request.WhichOneof("request") != "conversation":
                await refuse(context, {"conversation": "is missing; the setup comes once"})
            item = request.conversation
            if not 0 <= item.candidate_index < len(setup.candidates):
                await refuse(context, {"conversation.candidate_index": "is no candidate's"})
            yield pb.EvaluateResponse(scores=scores(setup, item))


def problems_of(setup: pb.EvaluationSetup) -> dict[str, str]:
    """Return what is wrong with the setup, by the field's path."""
    problems = {} if setup.metrics else {"metrics": "is empty; name at least one metric"}
    if not setup.candidates:
        problems["candidates"] = "is empty; give at least one"
    for index, spec in enumerate(setup.metrics):
        path = f"metrics[{index}]"
        if spec.name != METRIC:
            problems[f"{path}.name"] = f"unknown; this evaluator has {METRIC!r} only"
        if spec.artifact:
            problems[f"{path}.artifact"] = f"{METRIC!r} scores the conversation itself"
        for key in spec.parameters.fields:
            problems[f"{path}.parameters.{key}"] = "takes no parameters"
    return problems


def info(spec: metric_pb2.MetricSpec) -> metric_pb2.MetricInfo:
    """Return the metric as it is applied, under the label that the request gives it."""
    return metric_pb2.MetricInfo(
        name=spec.label or spec.name,
        metric=spec.name,
        version=VERSION,
        range=conversation_pb2.ValueRange(min=0.0, max=1.0),
        direction=metric_pb2.DIRECTION_MORE,
    )


def scores(setup: pb.EvaluationSetup, item: pb.ConversationItem) -> pb.ConversationScores:
    """Return the scores of one conversation, one for every metric of the setup.

    A metric that cannot score puts a google.rpc.Status into `error`, never a number into `value`.
    """
    said = [setup.candidates[item.candidate_index]]
    said += [message.content for message in item.messages if message.role == "assistant"]
    polite = sum(any(phrase in text.lower() for phrase in PHRASES) for text in said)
    answer = pb.ConversationScores(
        candidate_index=item.candidate_index, sample_index=item.sample_index
    )
    for spec in setup.metrics:
        answer.scores.add(name=spec.label or spec.name, value=polite / len(said))
    return answer


async def refuse(context: Context, problems: dict[str, str]) -> NoReturn:
    """End the stream with INVALID_ARGUMENT that names every field."""
    info = error_details_pb2.ErrorInfo(reason="INVALID_REQUEST", domain="foresight.v1")
    fields = error_details_pb2.BadRequest()
    for field, problem in problems.items():
        fields.field_violations.add(field=field, description=problem)
    message = "; ".join(f"{field}: {problem}" for field, problem in problems.items())
    code = grpc.StatusCode.INVALID_ARGUMENT
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in (info, fields):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, message, details)


async def serve(listen: str) -> None:
    """Serve until the process is ended."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MOST_BYTES)])
    pb_grpc.add_EvaluatorServiceServicer_to_server(Politeness(), server)
    port = server.add_insecure_port(listen)
    await server.start()
    print(f"serving {METRIC} on {listen.rpartition(':')[0]}:{port}", flush=True)  # noqa: T201
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--listen", default="127.0.0.1:50060")
    asyncio.run(serve(parser.parse_args().listen))
