"""Records every model call to a file and replays it offline.

The decorators stand right below the meter, above retries, hedges, budget, breaker and limits: what
is recorded is the call that the simulation or a judge made, once, with what finally became of it
and what that cost. Replay asks none of those decorators, so it neither waits nor depends on the
time that anything took, and meter, ledger and budget see the same numbers all the same. The faults
on the way are not lost: `AttemptModel`, right above the backend, adds every attempt to the line of
its call, for whoever reads the file.

Calls that are equal in everything are told apart by the order in which they began, which is the
order in which they are replayed. A call that was not recorded, or not so often, is an error and
never a call of a backend, unless the mode is `replay_or_record`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Final, Literal

from foresight_services.core.budget import NOTHING, Cost, Purse
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest, Clock
from foresight_services.core.usage import Ledger, ModelUsage, Usage
from foresight_services.models.pricing import Price
from foresight_services.models.recorded_call import (
    Attempt,
    Failed,
    Outcome,
    encode,
    name_call,
)
from foresight_services.models.recording_file import RecordingError, RecordingWriter
from foresight_services.models.replaying import RecordedCalls, ReplayingModel

_log: Final = logging.getLogger(__name__)

Mode = Literal["record", "replay", "replay_or_record"]
"""`record` appends every call; `replay` asks no model; `replay_or_record` asks for what is new."""

_ATTEMPTS: ContextVar[list[Attempt] | None] = ContextVar("attempts", default=None)
"""Where the attempts of the call that is being recorded are noted."""


class RecordingModel:
    """Decorates a `ChatModel`: writes every call and what became of it to a file."""

    def __init__(
        self,
        model: ChatModel,
        *,
        name: str,
        version: int = 0,
        writer: RecordingWriter,
        positions: Iterator[int],
    ) -> None:
        """Record the calls of `model`.

        Args:
            model: a backend with everything that stands before it.
            name: the configuration's name of the model.
            version: of a published policy; 0 for the configured model.
            writer: writes the file.
            positions: numbers the calls of the run as they begin, those of all its models.
        """
        self._model = model
        self._name = name
        self._version = version
        self._writer = writer
        self._positions = positions

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply, once there is room for its line."""
        name = name_call(request, model=self._name, version=self._version)
        position = next(self._positions)
        ledger = _NotedLedger(request.ledger)
        attempts: list[Attempt] = []

        def write(result: ChatReply | Failed | None) -> None:
            outcome = Outcome(result, ledger.noted, ledger.charge)
            self._writer.put(encode(name, position, outcome, attempts))

        noting = _ATTEMPTS.set(attempts)
        try:
            reply = await self._model.complete(replace(request, ledger=ledger))
        except asyncio.CancelledError:
            write(None)
            raise
        except Exception as error:
            write(Failed.of(error))
            await self._writer.room()
            raise
        finally:
            _ATTEMPTS.reset(noting)
        write(reply)
        await self._writer.room()
        return reply


class AttemptModel:
    """Decorates a backend: notes its calls for the recorded call that they belong to."""

    def __init__(self, model: ChatModel, *, clock: Clock) -> None:
        """Note the calls of `model`."""
        self._model = model
        self._clock = clock

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the backend's reply."""
        start, outcome, message = self._clock.now(), "cancelled", ""
        try:
            reply = await self._model.complete(request)
            outcome = "ok"
        except Exception as error:
            failed = Failed.of(error)
            outcome = failed.kind or failed.failure.reason
            message = failed.failure.message
            raise
        finally:
            attempts = _ATTEMPTS.get()
            if attempts is not None:
                seconds = self._clock.now() - start
                attempts.append(Attempt(request.seed, seconds, outcome, message))
        return reply


class Recording:
    """What a process records and replays. Close it with `aclose`, after the models."""

    def __init__(
        self, *, clock: Clock, calls: RecordedCalls | None, writer: RecordingWriter | None
    ) -> None:
        """Replay `calls`, where there are any, and write with `writer`, where there is one."""
        self._clock = clock
        self._calls = calls
        self._writer = writer
        self._positions = count()

    @property
    def offline(self) -> bool:
        """Whether no backend is ever asked, so that none needs to be made."""
        return self._writer is None

    def backend(self, model: ChatModel) -> ChatModel:
        """Return the backend `model`, its attempts noted."""
        return model if self.offline else AttemptModel(model, clock=self._clock)

    def around(
        self, model: ChatModel, *, name: str, version: int = 0, price: Price | None = None
    ) -> ChatModel:
        """Return `model`, a backend with everything before it but the meter, on record."""
        if self._writer is not None:
            model = RecordingModel(
                model,
                name=name,
                version=version,
                writer=self._writer,
                positions=self._positions,
            )
        if self._calls is None:
            return model
        otherwise = None if self.offline else model
        return ReplayingModel(
            self._calls, name=name, version=version, price=price, otherwise=otherwise
        )

    async def aclose(self) -> None:
        """Write what is pending and close the file."""
        if self._writer is not None:
            await self._writer.aclose()
        if self._calls is not None:
            _log.info("%d recorded calls were not asked for", self._calls.left)


async def open_recording(path: Path, mode: Mode, clock: Clock) -> Recording:
    """Open the file at `path` for `mode`.

    Raises:
        InvalidInput: naming `recording.path`, where it cannot be used.
    """
    try:
        return await asyncio.to_thread(_open, path, mode, clock)
    except RecordingError as error:
        raise InvalidInput((Violation("recording.path", str(error)),)) from error


def _open(path: Path, mode: Mode, clock: Clock) -> Recording:
    writer = None if mode == "replay" else RecordingWriter(path)
    calls = None if mode == "record" else RecordedCalls(path)
    return Recording(clock=clock, calls=calls, writer=writer)


@dataclass(frozen=True, slots=True)
class _NotedPurse(Purse):
    """A purse that also notes what its calls were charged."""

    charges: list[Cost] = field(default_factory=list)

    def settle(self, reserved: Cost, spent: Cost) -> None:
        self.charges.append(spent)
        self.account.settle(reserved, spent, self.place)


class _NotedLedger(Ledger):
    """The ledger of a call's request, which also notes what was written from here."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._charges: list[Cost] = []
        purse = ledger.purse
        self.purse = (
            None if purse is None else _NotedPurse(purse.account, purse.place, self._charges)
        )
        self.noted = ModelUsage()

    @property
    def charge(self) -> Cost | None:
        return sum(self._charges, NOTHING) if self._charges else None

    def record(self, role: str, usage: ModelUsage) -> None:
        self._ledger.record(role, usage)
        self.noted += usage

    def of(self, role: str) -> ModelUsage:
        return self._ledger.of(role)

    def usage(self, *, messages: int, seconds: float) -> Usage:
        return self._ledger.usage(messages=messages, seconds=seconds)
