"""One model call as data: what determines its reply, what became of it, what it cost.

A call's key is the SHA-256 of its canonical JSON: keys sorted, no white space, ASCII, every field
present. What is left out does not determine the reply (deadline, ledger), or does so through the
prompt alone (persona and the policy's flags). Settings of the model, keys of APIs and addresses are
not part of a call, so none can get into a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

from foresight_services.core.budget import Cost
from foresight_services.core.errors import (
    INTERNAL_MESSAGE,
    DomainError,
    Failure,
    Family,
    Reason,
    Violation,
    error_from,
)
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.usage import ModelUsage
from foresight_services.models.faults import FaultKind, ModelFault

T = TypeVar("T")

_FINISHES: Final = ("stop", "length")


@dataclass(frozen=True, slots=True)
class CallName:
    """Which call it is."""

    key: str
    """SHA-256 of `request`, in hexadecimal."""
    request: str
    """Everything that determines the reply, as canonical JSON."""


@dataclass(frozen=True, slots=True)
class Failed:
    """How a call failed."""

    failure: Failure
    """What its caller was told."""
    kind: FaultKind | None = None
    """The kind of a model's fault; None for any other failure."""
    retry_after_seconds: float | None = None
    """How long the backend asked to be left alone."""

    @classmethod
    def of(cls, error: Exception) -> Failed:
        """Describe `error`; a defect is told without its details, as every service does."""
        if isinstance(error, ModelFault):
            return cls(error.failure, error.kind, error.retry_after_seconds)
        if isinstance(error, DomainError):
            return cls(error.failure)
        return cls(Failure(Family.INTERNAL, Reason.INTERNAL, INTERNAL_MESSAGE))

    def error(self) -> DomainError:
        """Return the exception that this is the record of."""
        if self.kind is None:
            return error_from(self.failure)
        fault = ModelFault(self.kind, "", "", retry_after_seconds=self.retry_after_seconds)
        # The recorded message names the model already.
        DomainError.__init__(
            fault, self.failure.reason, self.failure.message, metadata=self.failure.metadata
        )
        return fault


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of the backend; retries and hedges make several of one call."""

    seed: int
    """The seed it was made with."""
    seconds: float
    """The time it took."""
    outcome: str
    """`ok`, `cancelled`, or the kind or reason of the failure."""
    message: str = ""
    """What the failure said."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call."""

    result: ChatReply | Failed | None
    """The reply or the failure; None where the caller left before either came."""
    usage: ModelUsage
    """What retries and hedges wrote into the request's ledger."""
    charge: Cost | None = None
    """What the request's budget was charged; None where there was none."""


def name_call(request: ChatRequest, *, model: str, version: int = 0) -> CallName:
    """Return the name of `request` to the configuration's `model`, or a published `version`."""
    ruled = not request.prompt
    canonical = json.dumps(
        {
            "role": request.role,
            "model": model,
            "version": version,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "seed": request.seed,
            "max_tokens": request.max_tokens,
            "choices": request.choices,
            "stop": request.stop,
            "schema": request.schema,
            # Rules know these without a prompt; of a prompt they are part.
            "world": request.task.world if ruled else "",
            "goal": request.task.goal if ruled else "",
        },
        default=_plain,
        separators=(",", ":"),
        sort_keys=True,
    )
    return CallName(digest(canonical), canonical)


def digest(canonical: str) -> str:
    """Return the key of the call whose canonical JSON is given."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Return the canonical JSON of a value that was read from JSON."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def encode(name: CallName, position: int, outcome: Outcome, attempts: list[Attempt]) -> bytes:
    """Return the line of a recording for a call, its newline included.

    `position` says when the call began: its number among the calls of the run.
    """
    fields: dict[str, object] = {}
    match outcome.result:
        case None:
            fields["cancelled"] = True
        case Failed() as failed:
            fields["failure"] = {
                "family": failed.failure.family,
                "reason": failed.failure.reason,
                "message": failed.failure.message,
                "metadata": dict(failed.failure.metadata),
                "violations": [asdict(v) for v in failed.failure.violations],
                "kind": failed.kind,
                "retry_after_seconds": failed.retry_after_seconds,
            }
        case ChatReply() as reply:
            fields["reply"] = asdict(reply)
    fields["usage"] = asdict(outcome.usage)
    fields["charge"] = None if outcome.charge is None else asdict(outcome.charge)
    fields["attempts"] = [asdict(attempt) for attempt in attempts]
    rest = json.dumps(fields, separators=(",", ":"))[1:]
    return f'{{"key":"{name.key}","position":{position},"request":{name.request},{rest}\n'.encode()


def decode(document: Mapping[str, Any]) -> tuple[str, int, Outcome]:
    """Return key, position and outcome of a recorded call; the inverse of `encode`.

    Raises:
        ValueError: where `document` is no recorded call.
    """
    key = _field(document, "key", str)
    if digest(canonical_json(_field(document, "request", dict))) != key:
        raise ValueError("its key is not the digest of its request")
    charge = document.get("charge")
    outcome = Outcome(
        _result(document),
        ModelUsage(**_numbers(_field(document, "usage", dict), ModelUsage)),
        None if charge is None else Cost(**_numbers(_field(document, "charge", dict), Cost)),
    )
    return key, _field(document, "position", int), outcome


def _result(document: Mapping[str, Any]) -> ChatReply | Failed | None:
    if document.get("cancelled") is True:
        return None
    if "failure" in document:
        return _failed(_field(document, "failure", dict))
    reply = _field(document, "reply", dict)
    finish, others = _field(reply, "finish", str), _field(reply, "others", list)
    if finish not in _FINISHES or not all(isinstance(other, str) for other in others):
        raise ValueError("its reply is none")
    return ChatReply(
        _field(reply, "text", str),
        _field(reply, "prompt_tokens", int),
        _field(reply, "completion_tokens", int),
        _field(reply, "cached_tokens", int),
        "length" if finish == "length" else "stop",
        tuple(others),
    )


def _failed(fields: Mapping[str, Any]) -> Failed:
    kind, after = fields.get("kind"), fields.get("retry_after_seconds")
    violations = [
        Violation(_field(v, "field", str), _field(v, "description", str))
        for v in _field(fields, "violations", list)
    ]
    failure = Failure(
        Family(_field(fields, "family", str)),
        Reason(_field(fields, "reason", str)),
        _field(fields, "message", str),
        {str(name): str(text) for name, text in _field(fields, "metadata", dict).items()},
        tuple(violations),
    )
    return Failed(
        failure,
        None if kind is None else FaultKind(kind),
        None if after is None else float(_field(fields, "retry_after_seconds", (int, float))),
    )


def _field(fields: object, name: str, kind: type[T] | tuple[type[T], ...]) -> T:
    if not isinstance(fields, Mapping) or name not in fields:
        raise ValueError(f"{name!r} is missing")
    value = fields[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name!r} is of the wrong type")
    return value


def _numbers(fields: Mapping[str, Any], kind: type[ModelUsage] | type[Cost]) -> dict[str, Any]:
    """Return the fields of a dataclass of numbers, each of the type that it has there."""
    numbers = kind.__dataclass_fields__
    if unknown := sorted(fields.keys() - numbers.keys()):
        raise ValueError(f"{unknown[0]!r} is unknown")
    for name, value in fields.items():
        wanted = (int, float) if isinstance(numbers[name].default, float) else int
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{name!r} is of the wrong type")
    return dict(fields)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
