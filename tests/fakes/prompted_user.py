"""A prompted user over a scripted model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from foresight_services.core.ports import ChatRequest
from foresight_services.simulator.prompting.user import PromptedUser, PromptedUserSettings
from tests.fakes.asking import SIGNAL
from tests.fakes.chat import ScriptedChat


def says(message: object, *, done: bool = False) -> str:
    """Return the reply of a model that keeps to the format."""
    return json.dumps({"thought": "hm", "message": message, "done": done})


def make_user(answer: Any, **settings: Any) -> tuple[PromptedUser, ScriptedChat]:
    """Return a user whose model answers by `answer`, and that model."""
    model = ScriptedChat(answer)
    user = PromptedUser(model, settings=PromptedUserSettings(termination_signal=SIGNAL, **settings))
    return user, model


def in_turn(*replies: str) -> Callable[[ChatRequest], str]:
    """Answer with `replies`, one after the other."""
    left = iter(replies)
    return lambda request: next(left)


def flat(request: ChatRequest) -> str:
    """Return all that the model reads, in the order in which it reads it."""
    return "".join(f"<{m.role}>{m.content}" for m in request.messages)
