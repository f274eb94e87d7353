"""A request about sums, and models that play all its roles."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.fakes.openai_server import Call, Reply

MODELS = """
models:
  policy: {{backend: openai, base_url: "{url}", model: the-policy}}
  user: {{backend: openai, base_url: "{url}", model: the-user}}
  judge: {{backend: openai, base_url: "{url}", model: the-judge}}
"""
"""Configuration of the models, `url` left open."""

SAMPLES = 3
REQUEST: dict[str, Any] = {
    "task": {"description": "A person asks for help.", "goal": "the sum of two and two"},
    "prefix": [{"role": "user", "content": "can you add numbers?"}],
    "candidates": ["Sure! Which numbers?", "4."],
    "objective": {"metrics": [{"name": "success"}]},
    # By this seed every sample has a persona of its own, so that no two share a call.
    "simulation": {"horizon_messages": 4, "samples": {"max": SAMPLES}, "seed": 3},
}
FUTURES = len(REQUEST["candidates"]) * SAMPLES
CALLS_OF_A_FUTURE = 4
CALLS = FUTURES * (CALLS_OF_A_FUTURE + 1)
"""What `REQUEST` costs; each future is judged once."""


def play(call: Call) -> Reply:
    """Play whichever role is asked for."""
    match call.model:
        case "the-user":
            said = {"thought": "hm", "message": f"two and two ({call.seed})", "done": False}
            return Reply(json.dumps(said))
        case "the-judge":
            return Reply(json.dumps({"rationale": "fine", "success": 0.75}))
        case _:
            return Reply(f"It is 4, says {call.model} ({call.seed}).")


class Stage:
    """Plays every model; can hold back every call after so many."""

    def __init__(self) -> None:
        self.answered = 0
        self.most: int | None = None
        self._room = asyncio.Event()

    async def play(self, call: Call) -> Reply:
        """Play once there is room."""
        while self.most is not None and self.answered >= self.most:
            self._room.clear()
            await self._room.wait()
        self.answered += 1
        return play(call)

    def hold(self) -> None:
        """Answer nothing from now on."""
        self.most = self.answered

    def go_on(self) -> None:
        """Answer all that waits and comes."""
        self.most = None
        self._room.set()
