"""The `builtin` backend: rules of a small world in place of a language model.

The world is named by the task; one instance plays any of its roles and keeps nothing between calls.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Final

from foresight_services.core.errors import NotFound, Reason, Upstream
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.suggest import one_of
from foresight_services.core.task import Task
from foresight_services.metrics.words import count_words, first_words
from foresight_services.worlds.world import World

_SEEDS: Final = 2**64


class BuiltinModel:
    """Plays user, policy and judge of the builtin worlds; implements the port `ChatModel`."""

    def __init__(self, worlds: Mapping[str, World], *, skill: str = "") -> None:
        """Play in `worlds`; as the policy with `skill`, by default a world's strongest."""
        self._worlds = worlds
        self._skill = skill

    def check(self, name: str, task: Task) -> None:
        """Raise NotFound where the policy called `name` cannot play `task`."""
        world = self._world(task)
        if self._skill and self._skill not in world.skills:
            raise NotFound(
                Reason.UNKNOWN_POLICY,
                f"policy {name!r} does not play {world.name!r}:"
                f" {one_of(self._skill, world.skills)}",
                metadata={"policy": name, "known": ", ".join(world.skills)},
            )

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return what the rules say; a judge answers with a JSON object of scores.

        Choice j is drawn as the reply to the same request with a seed greater by j.
        """
        # Rules wait for nothing, so without this the futures of a large group would run to their
        # end one after the other while deadlines, cancellations and health checks wait.
        await asyncio.sleep(0)
        world = self._world(request.task)
        texts = [
            first_words(
                self._text(world, request, (request.seed + choice) % _SEEDS), request.max_tokens
            )
            for choice in range(request.choices)
        ]
        read = sum(count_words(message.content) for message in request.conversation)
        written = sum(map(count_words, texts))
        return ChatReply(texts[0], read, written, others=tuple(texts[1:]))

    def _text(self, world: World, request: ChatRequest, seed: int) -> str:
        goal, conversation = request.task.goal, request.conversation
        match request.role:
            case "user":
                return world.user_turn(goal, conversation, random.Random(seed))
            case "policy":
                skill = self._skill or world.skills[-1]
                return world.policy_turn(skill, conversation, random.Random(seed))
            case "judge":
                return json.dumps({"success": world.success(goal, conversation)})

    def _world(self, task: Task) -> World:
        world = self._worlds.get(task.world)
        if world is None:
            raise Upstream(
                Reason.MODEL_FAILED,
                "a builtin model plays worlds only: " + one_of(task.world, self._worlds),
            )
        return world
