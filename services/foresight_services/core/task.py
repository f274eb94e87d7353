"""What a conversation is about, and the scenarios that give its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from foresight_services.core.objective import Objective


@dataclass(frozen=True, slots=True)
class Task:
    """What user and assistant do together, and what the simulated user wants."""

    preset: str = ""
    """Name of the scenario that gives the defaults; empty for none."""
    description: str = ""
    """What user and assistant do together."""
    guidance: str = ""
    """Extra instructions for the user simulator."""
    goal: str = ""
    """What the simulated user wants; empty where a world draws it for every sample."""
    reference: str = ""
    """The known good answer, for metrics only."""
    world: str = ""
    """The builtin world whose rules play the `builtin` roles; empty for none."""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Facts for metrics."""

    def with_goal(self, goal: str) -> Task:
        """Return the task of one future, whose user wants `goal`."""
        return replace(self, goal=goal)


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy and one version of its weights."""

    name: str = "policy"
    """Name of a configured or published policy."""
    version: int = 0
    """Version of the weights; 0 asks for the newest."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A scenario: defaults for a task, its objective and its simulation."""

    task: Task
    """Defaults of the task's fields."""
    objective: Objective
    """The objective where the request gives none."""
    horizon_messages: int
    """Length of a future in messages."""
    samples_max: int
    """Futures for each candidate."""
    max_message_tokens: int
    """Limit on one simulated message, in tokens."""
    personas: tuple[str, ...] = ()
    """Personas that the user may play; empty for all that the simulator has."""
