"""A server of the OpenAI chat API behind which the rules of a builtin world play every part.

Its replies depend on the prompt and the seed alone, so that rewards can be compared to the last
bit: `InWords` writes what the rules must know into the prompt, `world_rules` reads it there.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from foresight_services.core.conversation import Message, Role
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.builtin import BuiltinModel
from foresight_services.worlds.registry import make_worlds
from tests.fakes.openai_server import Call, Fault, Reply, Script


class InWords:
    """Renders a request for `world_rules`; decorates a `ChatModel`."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Put role, world and goal into a first message."""
        task = request.task
        facts = json.dumps({"role": request.role, "world": task.world, "goal": task.goal})
        prompt = (Message("system", facts), *request.conversation)
        return await self._model.complete(replace(request, prompt=prompt))


def world_rules() -> Script:
    """Return the script that plays the role that a prompt names in the world that it names."""
    model = BuiltinModel(make_worlds())

    async def play(call: Call) -> Reply:
        first, *said = call.messages
        facts = json.loads(first["content"])
        assert call.seed is not None
        reply = await model.complete(
            ChatRequest(
                role=facts["role"],
                task=Task(world=facts["world"], goal=facts["goal"]),
                conversation=tuple(Message(cast(Role, m["role"]), m["content"]) for m in said),
                seed=call.seed,
                max_tokens=int(call.body["max_tokens"]),
                ledger=Ledger(),
            )
        )
        return Reply(reply.text)

    return play


class FaultyScript:
    """Fails a share of the calls, by chance that depends on a call and on how often it was made.

    So the same calls fail in every run, in whatever order they arrive.
    """

    def __init__(
        self, otherwise: Script, share: float, faults: Mapping[str, Fault | Reply], seed: int = 0
    ) -> None:
        """Fail `share` of the calls with one of `faults`, each as often; names are for counting."""
        self._otherwise = otherwise
        self._share = share
        self._faults = tuple(faults.items())
        self._seed = seed
        self._made: Counter[bytes] = Counter()
        self.calls = 0
        """All calls."""
        self.failed: Counter[str] = Counter()
        """Calls that were made to fail, by the name of the fault."""

    def __call__(self, call: Call) -> Any:
        """Return what becomes of `call`."""
        self.calls += 1
        number = self._made[call.raw]
        self._made[call.raw] += 1
        name = hashlib.sha256(call.raw + f"/{number}/{self._seed}".encode()).digest()
        rng = random.Random(name)
        if rng.random() >= self._share:
            return self._otherwise(call)
        kind, fault = rng.choice(self._faults)
        self.failed[kind] += 1
        return fault
