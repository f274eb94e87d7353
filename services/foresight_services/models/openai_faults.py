"""What a server of the OpenAI chat API says when it does not answer, sorted into `FaultKind`s.

Servers word the same thing differently, so codes come first, then words. What a server says is
passed on shortened, and without what it repeats of the conversation or of the key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_http import Answer

_MOST_CHARACTERS: Final = 300
"""How much of a server's message is passed on."""

_ECHO: Final = 16
"""From this many characters on, a part of a message that the conversation has too is an echo."""

_CONTEXT: Final = re.compile(
    r"context_(length|window|size)_exceeded|exceed_context_size|contextwindowexceeded"
    r"|(maximum|max|available|model's) context (length|size|window)"
    r"|context (length|size|window) (is only|has been exceeded|exceeded|of \d)"
    r"|exceeds? (the )?context (length|size|window)|longer than the maximum model length"
    r"|too long to fit into the model|(prompt|input) is too long|too many input tokens"
    r"|exceeds the maximum (allowed length|number of tokens)|must be at least 1, got -"
    r"|`inputs` tokens \+ `max_new_tokens`",
    re.IGNORECASE,
)
_UNKNOWN_MODEL: Final = re.compile(
    r"model_not_found|unknown_model|invalid_model|(unknown|invalid|no such) model"
    r"|not a valid model|\bmodel\b.{0,200}?((do|doe)s(n't| not) exist|not found|not loaded)",
    re.IGNORECASE | re.DOTALL,
)
_FILTERED: Final = frozenset({"content_filter", "content_policy_violation"})
_NO_CREDIT: Final = "insufficient_quota"

_BY_STATUS: Final[Mapping[int, FaultKind]] = {
    401: FaultKind.UNAUTHORIZED,
    402: FaultKind.UNAUTHORIZED,
    403: FaultKind.UNAUTHORIZED,
    408: FaultKind.TIMEOUT,
    409: FaultKind.SERVER_ERROR,
    425: FaultKind.OVERLOADED,
    429: FaultKind.RATE_LIMITED,
    501: FaultKind.BAD_REQUEST,
    503: FaultKind.OVERLOADED,
    504: FaultKind.TIMEOUT,
    505: FaultKind.BAD_REQUEST,
    529: FaultKind.OVERLOADED,
}


class AnswerFault(ModelFault):
    """A fault that the server itself told."""

    status: int = 200
    """The HTTP status that came with it, or that its body names."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an error's body says."""

    message: str = ""
    """For people."""
    codes: tuple[str, ...] = ()
    """The fields `code` and `type`, whatever the server puts there."""

    @property
    def text(self) -> str:
        """All of it, to search in."""
        return " ".join((*self.codes, self.message))


@dataclass(frozen=True, slots=True)
class Sent:
    """What the server was sent and may repeat, but nobody else may see."""

    model: str
    """The model asked for."""
    contents: tuple[str, ...]
    """The texts of the conversation."""
    api_key: str | None
    """The key."""


def fault_of(name: str, answer: Answer, sent: Sent, wall_clock: Callable[[], float]) -> AnswerFault:
    """Return the fault that an answer with an error status stands for.

    Args:
        name: the configuration's name of the model.
        answer: what the server answered.
        sent: what it may have repeated.
        wall_clock: seconds since 1970, for servers that say until when to wait but not the time.
    """
    told = told_by(answer.body)
    wait = retry_after_seconds(answer.headers, wall_clock)
    return _fault(name, answer.status, told, sent, f"HTTP {answer.status}", wait)


def fault_in(name: str, error: Any, sent: Sent) -> AnswerFault:
    """Return the fault that the field `error` of an answer with status 200 stands for."""
    told = _told(error)
    status = next((int(code) for code in told.codes if re.fullmatch(r"[45]\d\d", code)), 0)
    return _fault(name, status or 500, told, sent, "an error with status 200", None)


def _fault(
    name: str, status: int, told: Told, sent: Sent, how: str, wait: float | None
) -> AnswerFault:
    kind = kind_of(status, told)
    said = without_echo(told.message, sent)
    match kind:
        case FaultKind.UNKNOWN_MODEL:
            what = f"the server does not know the model {sent.model!r} ({how})"
        case FaultKind.UNAUTHORIZED if status == 401:
            # Servers repeat parts of a key that they refuse.
            what, said = f"the server refuses the API key ({how})", ""
        case FaultKind.BAD_REQUEST if status == 404 or 300 <= status < 400:
            what = f"nothing answers at this base_url ({how})"
        case _:
            what = f"the server answered {how}"
    fault = AnswerFault(kind, name, f"{what}: {said}" if said else what, retry_after_seconds=wait)
    fault.status = status
    return fault


def kind_of(status: int, told: Told) -> FaultKind:
    """Return what kind of fault an error is; `status` is 100..599."""
    codes = {code.lower() for code in told.codes}
    if "model_not_found" in codes:
        return FaultKind.UNKNOWN_MODEL
    if codes & _FILTERED:
        return FaultKind.REFUSED
    if status == 429 and _NO_CREDIT in codes:
        return FaultKind.UNAUTHORIZED
    if status not in (401, 402, 403, 429, 503) and _CONTEXT.search(told.text):
        return FaultKind.CONTEXT
    if status in (400, 404, 422) and _UNKNOWN_MODEL.search(told.text):
        return FaultKind.UNKNOWN_MODEL
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return FaultKind.SERVER_ERROR if status >= 500 else FaultKind.BAD_REQUEST


def told_by(body: bytes) -> Told:
    """Return what an error's body says, in any of the shapes that servers use."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        text = body[:2000].decode(errors="replace").strip()
        return Told("an HTML page" if text.startswith("<") else text)
    if isinstance(data, dict):
        for key in ("error", "detail", "errors"):
            if data.get(key):
                return _told(data[key])
    return _told(data)


def _told(error: Any) -> Told:
    if isinstance(error, str):
        return Told(error)
    if isinstance(error, list):
        # FastAPI's list of invalid fields; their `input` would repeat the conversation.
        return Told("; ".join(_told(item).message for item in error[:5]))
    if not isinstance(error, dict):
        return Told()
    message = error.get("message") or error.get("msg")
    place = error.get("loc")
    text = message if isinstance(message, str) else ""
    if isinstance(place, list):
        text = f"{'.'.join(str(part) for part in place)}: {text}"
    codes = (error.get("code"), error.get("type"))
    return Told(text, tuple(str(code) for code in codes if code is not None))


def without_echo(message: str, sent: Sent) -> str:
    """Return `message` as one short line, with an ellipsis for what repeats the conversation."""
    # More than is passed on, for echoes shrink.
    text = "".join(c if c.isprintable() else " " for c in message[: 2 * _MOST_CHARACTERS])
    text = " ".join(text.split())
    hidden = [*sent.contents, sent.api_key or ""]
    echoed = [False] * len(text)
    for start, end in _echoes(text, hidden):
        echoed[start:end] = [True] * (end - start)
    kept = "".join("\0" if echo else c for c, echo in zip(text, echoed, strict=True))
    kept = re.sub("\0+", "…", kept)
    return kept if len(kept) <= _MOST_CHARACTERS else kept[: _MOST_CHARACTERS - 1] + "…"


def _echoes(text: str, hidden: Iterable[str]) -> Iterable[tuple[int, int]]:
    """Find the parts of `text` that occur in `hidden`, however the server may have escaped it."""
    plain = [" ".join(part.split()) for part in hidden if part]
    everything = "\n".join(form for part in plain for form in (part, json.dumps(part), repr(part)))
    for start in range(len(text) - _ECHO + 1):
        if text[start : start + _ECHO] in everything:
            yield start, start + _ECHO
    for part in plain:
        if len(part) < _ECHO:  # too short to be told from chance, unless it is quoted
            for found in re.finditer(rf"(?<=[\"'`]){re.escape(part)}(?=[\"'`])", text):
                yield found.span()


def retry_after_seconds(
    headers: Mapping[str, str], wall_clock: Callable[[], float]
) -> float | None:
    """Return how long the server asks to be left alone, in seconds; None where it does not."""
    milliseconds = _number(headers.get("Retry-After-Ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After", "")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    # Counted on the server's own clock where it shows it, for it may be set differently.
    now = _date(headers.get("Date", ""))
    return max(0.0, until - (wall_clock() if now is None else now))


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
