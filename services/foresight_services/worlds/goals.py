"""Goals of the simulated user: the task's own, or drawn by its world."""

from __future__ import annotations

import random
from collections.abc import Mapping

from foresight_services.core.conversation import Conversation
from foresight_services.core.errors import InvalidInput, Precondition, Reason, Violation
from foresight_services.core.suggest import one_of
from foresight_services.core.task import Task
from foresight_services.worlds.world import World


class WorldGoals:
    """Draws goals from the builtin worlds; implements the port `GoalSource`."""

    def __init__(self, worlds: Mapping[str, World], *, world_required: bool) -> None:
        """Draw from `worlds`; `world_required` where the user model is `builtin`."""
        self._worlds = worlds
        self._required = world_required

    def check(self, task: Task) -> None:
        """Raise InvalidInput where the world is not known or cannot have the task's goal."""
        if not task.world and not self._required:
            return
        world = self._worlds.get(task.world)
        if world is None:
            problem = (
                one_of(task.world, self._worlds)
                if task.world
                else f"is empty, but the user model is builtin (known: {', '.join(self._worlds)})"
            )
            raise InvalidInput((Violation("task.world", problem),))
        problem_with_goal = world.check_goal(task.goal) if task.goal else None
        if problem_with_goal:
            raise InvalidInput((Violation("task.goal", problem_with_goal),))

    def draw(self, task: Task, prefix: Conversation, seed: int) -> str:
        """Return a goal that `prefix` leaves possible."""
        try:
            return self._worlds[task.world].draw_goal(prefix, random.Random(seed))
        except ValueError as error:
            raise Precondition(
                Reason.CONTRADICTORY_PREFIX, str(error), metadata={"world": task.world}
            ) from error
