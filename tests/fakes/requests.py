"""Requests for rewards, as callers send them."""

from __future__ import annotations

from typing import Any

from foresight.v1 import conversation_pb2, metric_pb2
from foresight.v1 import reward_service_pb2 as pb

GAME = "Let's play 20 Questions! I'm thinking of a thing. You have 20 turns."


def message(role: str, content: str) -> conversation_pb2.Message:
    """Return a message."""
    return conversation_pb2.Message(role=role, content=content)


def metric(name: str, weight: float | None = None, **fields: Any) -> metric_pb2.MetricSpec:
    """Return a metric spec; `parameters` as a dict."""
    parameters = fields.pop("parameters", {})
    spec = metric_pb2.MetricSpec(name=name, weight=weight, **fields)
    spec.parameters.update(parameters)
    return spec


def simulation(
    *, least: int | None = None, most: int | None = None, policy: str = "", **fields: Any
) -> pb.Simulation:
    """Return the settings of a simulation, samples from `least` to `most`."""
    chosen = pb.Simulation(**fields)
    if least is not None:
        chosen.samples.min = least
    if most is not None:
        chosen.samples.max = most
    if policy:
        chosen.policy.name = policy
    return chosen


def game(**fields: Any) -> pb.ComputeRewardsRequest:
    """Return a request of the builtin world 20 Questions that can be served as it is."""
    given = {
        "task": conversation_pb2.Task(preset="twenty_questions"),
        "prefix": [message("user", GAME)],
        "candidates": ["Is it alive?"],
        **fields,
    }
    return pb.ComputeRewardsRequest(**given)
