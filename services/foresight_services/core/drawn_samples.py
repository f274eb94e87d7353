"""What is drawn for a sample index: what the user wants, who they are, who may know what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from foresight_services.core.future import SimulationRequest
from foresight_services.core.ports import GoalSource, Personas
from foresight_services.core.seeds import derive_seed
from foresight_services.core.task import Task


@dataclass(frozen=True, slots=True)
class Sample:
    """What holds for all futures of one sample index, whatever the candidate."""

    goal: str
    """What the user wants."""
    persona: str
    """Who the user is; empty for nobody in particular."""
    user: Task
    """What the user may know."""
    policy: Task
    """What the policy may know."""


def seen_by_policy(task: Task) -> Task:
    """Return what the policy may know of `task`: neither goal nor reference nor their like."""
    return replace(task, goal="", reference="", guidance="", metadata={})


def seen_by_user(task: Task, goal: str) -> Task:
    """Return what the user simulator may know of `task`: the goal, not the known good answer."""
    return replace(task, goal=goal, reference="", metadata={})


def draw_samples(
    request: SimulationRequest, goals: GoalSource, personas: Personas | None
) -> Mapping[int, Sample]:
    """Return what holds for each sample index of `request`."""
    task, seed = request.task, request.seed
    policy = seen_by_policy(task)
    drawn: dict[int, Sample] = {}
    for sample in {which.sample for which in request.futures}:
        goal = task.goal or goals.draw(task, request.prefix, derive_seed(seed, sample, "goal"))
        persona = ""
        if personas is not None:
            persona = personas.draw(derive_seed(seed, sample, "persona"), request.personas)
        drawn[sample] = Sample(goal, persona, seen_by_user(task, goal), policy)
    return drawn
