"""The `openai` backend: any server of the OpenAI chat API, over connections of its own.

One call of the port is one HTTP call, unless the server turns out not to give several choices at
once or not to know JSON schemas. Nothing is retried here: decorators on the port do that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from yarl import URL

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import ChatReply, ChatRequest, Clock
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_faults import AnswerFault, Sent, fault_of
from foresight_services.models.openai_http import OpenAIEndpoint
from foresight_services.models.openai_reply import Draw, draw_from

_log: Final = logging.getLogger(__name__)

_SEEDS: Final = 2**31 - 2**16
"""Seeds are sent modulo this: every server takes them, and those of further choices, as int32."""

_LONGEST_KEPT: Final = 16_000
"""Characters of a system message up to which it is kept as JSON."""

_MOST_FORMS: Final = 64
"""Schemas that are kept as JSON."""

_RESERVED: Final = frozenset({"messages", "model", "n", "stream"})
"""Fields that a configuration cannot set."""

_ABOUT_N: Final = re.compile(r"completion choice|\bn\b.{0,60}?(must|support|allow|greedy|\b1\b)")
"""Servers that refuse several choices: `n must be 1 when...`, `only one completion choice...`."""

_MAY_BE_ABOUT_SCHEMA: Final = frozenset({400, 415, 422, 501})
"""With these statuses servers refuse a `response_format` that they do not know."""


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """Where a model is served and how it is asked."""

    name: str
    """The configuration's name of the model, for errors."""
    base_url: str
    """Address of the API, http or https, such as `http://127.0.0.1:8000/v1`."""
    model: str
    """What the server calls the model."""
    api_key: str | None = field(repr=False)
    """Sent as a bearer token; None sends none."""
    temperature: float
    """Sampling temperature, 0 or more."""
    top_p: float | None = None
    """Nucleus sampling, in (0, 1]; None leaves it to the server."""
    timeout_seconds: float = 120.0
    """Limit on one HTTP call, the wait for a free connection included."""
    connect_timeout_seconds: float = 5.0
    """Limit on making a connection."""
    max_connections: int = 1024
    """Most connections at once; further calls wait for one."""
    max_response_bytes: int = 8 << 20
    """Longest answer that is read."""
    schema_mode: Literal["json_schema", "none"] = "json_schema"
    """Whether a request's JSON schema is sent as `response_format`."""
    seed_mode: bool = True
    """Whether seeds are sent."""
    extra_body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Further fields of every call; they win over those that are made here."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        url = URL(self.base_url)
        if url.scheme not in ("http", "https") or not url.host or url.user or url.password:
            raise ValueError("base_url must be http://HOST or https://HOST, without a password")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError("temperature must be 0 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError("top_p must be in (0, 1]")
        if not (self.timeout_seconds > 0 and self.connect_timeout_seconds > 0):
            raise ValueError("timeout_seconds, connect_timeout_seconds: must be more than 0")
        if self.max_connections < 1 or self.max_response_bytes < 1:
            raise ValueError("max_connections and max_response_bytes must be at least 1")
        if taken := sorted(_RESERVED & self.extra_body.keys()):
            raise ValueError(f"extra_body must not set {', '.join(taken)}")


class OpenAIModel:
    """Asks one model of one server; implements the port `ChatModel`. Close it with `aclose`."""

    def __init__(
        self,
        settings: OpenAISettings,
        *,
        clock: Clock,
        wall_clock: Callable[[], float] = time.time,
        endpoint: OpenAIEndpoint | None = None,
    ) -> None:
        """Prepare calls; connections are made when they are needed.

        Args:
            settings: where and how.
            clock: the clock of the requests' deadlines.
            wall_clock: seconds since 1970, for a Retry-After that gives a date.
            endpoint: the connections to share with another model of the server; None opens own.
        """
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock
        self._server = endpoint or OpenAIEndpoint(
            name=settings.name,
            base_url=settings.base_url,
            api_key=settings.api_key,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            max_connections=settings.max_connections,
            max_response_bytes=settings.max_response_bytes,
        )
        self._fixed = {"model": settings.model, "temperature": settings.temperature}
        if settings.top_p is not None:
            self._fixed["top_p"] = settings.top_p

    def with_model(self, model: str) -> OpenAIModel:
        """Return a backend for another model of the same server, such as a LoRA adapter.

        Both use the same connections, which `aclose` of either closes.
        """
        return OpenAIModel(
            replace(self._settings, model=model),
            clock=self._clock,
            wall_clock=self._wall_clock,
            endpoint=self._server,
        )

    async def aclose(self) -> None:
        """Close the connections; calls in flight fail."""
        await self._server.aclose()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply.

        Raises:
            ModelFault: where the server or the way to it fails.
            DeadlinePassed: where the request's deadline comes before the end of the timeout.
        """
        wanted = request.choices
        draws: list[Draw] = []
        if wanted == 1 or self._server.takes_n:
            draws.append(await self._draw(request, 0, wanted))
        have = sum(len(draw.texts) for draw in draws)
        if have < wanted:
            draws += await _all(self._draw(request, i, 1) for i in range(have, wanted))
        texts = [text for draw in draws for text in draw.texts]
        return ChatReply(
            texts[0],
            sum(draw.prompt_tokens for draw in draws),
            sum(draw.completion_tokens for draw in draws),
            sum(draw.cached_tokens for draw in draws),
            draws[0].finish,
            tuple(texts[1:]),
        )

    async def _draw(self, request: ChatRequest, offset: int, n: int) -> Draw:
        """Draw up to `n` choices, the first with the seed of choice `offset`."""
        server = self._server
        schema = (
            request.schema is not None
            and self._settings.schema_mode == "json_schema"
            and server.takes_schema
        )
        try:
            draw = await self._call(request, offset, n, schema)
        except AnswerFault as fault:
            if fault.kind is not FaultKind.BAD_REQUEST:
                raise
            if n > 1 and _ABOUT_N.search(fault.message):
                server.takes_n = False
                return await self._draw(request, offset, 1)
            if not schema or fault.status not in _MAY_BE_ABOUT_SCHEMA:
                raise
            draw = await self._call(request, offset, n, False)
            if server.takes_schema:
                _log.warning("JSON schemas are no longer sent, for without one: %s", fault.message)
            server.takes_schema = False
        if n > 1 and len(draw.texts) == 1:
            server.takes_n = False
        return draw

    async def _call(self, request: ChatRequest, offset: int, n: int, schema: bool) -> Draw:
        """Make one HTTP call."""
        settings, timeout = self._settings, self._settings.timeout_seconds
        if request.deadline is not None:
            timeout = min(timeout, request.deadline - self._clock.now())
            if timeout <= 0:
                raise DeadlinePassed
        form = ""
        if schema and request.schema is not None and "response_format" not in settings.extra_body:
            form = _response_format(request.schema)
        body = _encoded(self._body(request, offset, n), form, request.messages)
        try:
            answer = await self._server.post(body, timeout)
        except ModelFault as fault:
            # The caller's impatience is no sign of a backend in trouble.
            if fault.kind is FaultKind.TIMEOUT and timeout < settings.timeout_seconds:
                raise DeadlinePassed from fault
            raise
        contents = tuple(message.content for message in request.messages)
        sent = Sent(settings.model, contents, settings.api_key)
        if answer.status != 200:
            raise fault_of(settings.name, answer, sent, self._wall_clock)
        draw = draw_from(settings.name, answer, wanted=n, stop=request.stop, sent=sent)
        if not draw.prompt_tokens and self._server.counts_tokens:
            self._server.counts_tokens = False
            _log.warning("model %r: the server tells no usage of tokens", settings.name)
        return draw

    def _body(self, request: ChatRequest, offset: int, n: int) -> dict[str, Any]:
        """Return all of the body but the schema and the messages."""
        body: dict[str, Any] = {**self._fixed, "max_tokens": request.max_tokens}
        if n > 1:
            body["n"] = n
        if self._settings.seed_mode:
            body["seed"] = request.seed % _SEEDS + offset
        if request.stop:
            body["stop"] = request.stop
        body.update(self._settings.extra_body)
        return body


def _is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether `schema` leaves nothing open, which hosted servers ask of one that they enforce."""
    names = schema.get("properties", {}).keys()
    return schema.get("additionalProperties") is False and names == set(schema.get("required", ()))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


_encode: Final = json.JSONEncoder(separators=(",", ":"), default=_plain).encode


def _encoded(body: Mapping[str, Any], form: str, messages: Conversation) -> bytes:
    """Return `body` with `form`, a field of its own or nothing, and `messages` as JSON."""
    told = ",".join(map(_message, messages))
    return f'{_encode(body)[:-1]}{form},"messages":[{told}]}}'.encode()


_forms: Final[dict[int, tuple[Mapping[str, Any], str]]] = {}
"""Schemas that were sent lately, by identity, and what was sent of them."""


def _response_format(schema: Mapping[str, Any]) -> str:
    """Return the field that tells `schema`; there are few of them, and they do not change."""
    known = _forms.get(id(schema))
    if known is None:
        form = {"name": "reply", "schema": schema, "strict": _is_strict(schema)}
        asked = {"response_format": {"type": "json_schema", "json_schema": form}}
        if len(_forms) >= _MOST_FORMS:
            _forms.clear()
        # With the schema itself, so that no other one can come to have its identity.
        known = _forms[id(schema)] = schema, f",{_encode(asked)[1:-1]}"
    return known[1]


def _message(message: Message) -> str:
    # Instructions come with every call, and are long; what is said in conversations differs.
    if message.role == "system" and len(message.content) <= _LONGEST_KEPT:
        return _instructions(message.content)
    return f'{{"role":{_encode(message.role)},"content":{_encode(message.content)}}}'


@lru_cache(maxsize=256)
def _instructions(content: str) -> str:
    return f'{{"role":"system","content":{_encode(content)}}}'


async def _all(draws: Iterable[Coroutine[Any, Any, Draw]]) -> list[Draw]:
    """Make calls at once; where one fails, the others are cancelled."""
    tasks = [asyncio.create_task(draw) for draw in draws]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
