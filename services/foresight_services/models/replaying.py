"""Replays recorded model calls: the same replies, failures and costs, and no model asked.

Calls that are equal in everything get what was recorded for them in the order in which they began.
A call that was not recorded, or not so often, fails; it is never made up and, unless the mode is
`replay_or_record`, never made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Final

from foresight_services.core.budget import NOTHING, Cost
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.usage import ModelUsage
from foresight_services.models.pricing import Price
from foresight_services.models.recorded_call import CallName, Failed, Outcome, decode, name_call
from foresight_services.models.recording_file import RecordingError, read_lines

NOT_RECORDED: Final = "not_recorded"
"""The `kind` of the failure of a call that cannot be replayed."""

_CANCELLED: Final = "it was cancelled before its reply when it was recorded"


class RecordedCalls:
    """The calls of a file, each to be replayed once."""

    def __init__(self, path: Path) -> None:
        """Read the recording at `path`.

        Raises:
            RecordingError: where it cannot be read.
        """
        self._path = path
        found: dict[str, list[tuple[int, int, Outcome]]] = {}
        for line in read_lines(path):
            try:
                key, position, outcome = decode(line.document)
            except (ValueError, TypeError) as error:
                problem = f"is no recorded call: {error}"
                raise RecordingError(path, problem, line=line.number) from error
            found.setdefault(key, []).append((line.run, position, outcome))
        self._held = {key: len(calls) for key, calls in found.items()}
        self._left = {
            key: deque(outcome for _, _, outcome in sorted(calls, key=lambda call: call[:2]))
            for key, calls in found.items()
        }

    @property
    def left(self) -> int:
        """How many calls have not been replayed."""
        return sum(map(len, self._left.values()))

    def next(self, name: CallName) -> Outcome | None:
        """Return what became of the next call of that name; None where there is none left."""
        left = self._left.get(name.key)
        return left.popleft() if left else None

    def problem(self, name: CallName) -> str:
        """Return why there is nothing for a call of that name."""
        held = self._held.get(name.key, 0)
        known = f"all {held} recorded ones have been replayed" if held else "it was not recorded"
        return f"{known} ({self._path.name})"


class ReplayingModel:
    """Answers calls from a recording; implements the port `ChatModel`."""

    def __init__(
        self,
        calls: RecordedCalls,
        *,
        name: str,
        version: int = 0,
        price: Price | None = None,
        otherwise: ChatModel | None = None,
    ) -> None:
        """Replay `calls` of the configuration's model `name`, or its published `version`.

        Args:
            calls: what was recorded.
            name: the configuration's name of the model.
            version: of a published policy; 0 for the configured model.
            price: what a budget is charged by where the recorded run had none.
            otherwise: asked for what was not recorded. Default: such a call fails.
        """
        self._calls = calls
        self._name = name
        self._version = version
        self._price = price
        self._otherwise = otherwise

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the recorded reply, or fail as the call did.

        Raises:
            Upstream: MODEL_FAILED with the kind `not_recorded`.
            LimitReached: where the budget is smaller than it was.
        """
        # Others run in between, as they do while a model is asked.
        await asyncio.sleep(0)
        name = name_call(request, model=self._name, version=self._version)
        outcome = self._calls.next(name)
        if outcome is None or outcome.result is None:
            if self._otherwise is not None:
                return await self._otherwise.complete(request)
            problem = self._calls.problem(name) if outcome is None else _CANCELLED
            raise _not_recorded(problem, name, self._name, self._version, request)
        await self._charge(request, outcome)
        if outcome.usage != ModelUsage():
            request.ledger.record(request.role, outcome.usage)
        if isinstance(outcome.result, Failed):
            raise outcome.result.error()
        return outcome.result

    async def _charge(self, request: ChatRequest, outcome: Outcome) -> None:
        """Book what the call cost; what a run within its budget spent is never refused again."""
        purse, charge = request.ledger.purse, outcome.charge
        if purse is None or charge == NOTHING:
            return
        if charge is None:
            if not isinstance(outcome.result, ChatReply):
                return
            reply = outcome.result
            dollars = 0.0 if self._price is None else self._price.of(reply)
            charge = Cost(reply.prompt_tokens + reply.completion_tokens, dollars)
        await purse.reserve(charge)
        purse.settle(charge, charge)


def _not_recorded(
    problem: str, name: CallName, model: str, version: int, request: ChatRequest
) -> Upstream:
    who = f"{model}@{version}" if version else model
    return Upstream(
        Reason.MODEL_FAILED,
        f"model {who!r}: a call as the {request.role}, with {len(request.messages)} messages and"
        f" seed {request.seed}, cannot be replayed: {problem}; its key is {name.key[:16]}",
        metadata={"model": model, "kind": NOT_RECORDED, "key": name.key},
    )
