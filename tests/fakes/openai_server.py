"""A server that speaks `/v1/chat/completions` on a real socket and does what a test wants.

    async with openai_server(lambda call: Reply("Hello.")) as server:
        ...                                    # point a client at server.base_url
        assert server.calls[0].model == "tiny"

The script is asked once for every call, in the order of their arrival, and returns (or awaits) a
`Reply` or a `Fault`; without a script every call is answered by `derived`, whose texts depend on
the model, the messages and the seed alone: choice i of a call with seed s says what a call with
seed s + i says, as with vLLM. `unreliable` wraps a script so that a share of the calls fails.

`server.calls` is the log: what each call asked, on which connection it came, and how it ended,
`cancelled` when the client hung up before it had its answer. For answers that no HTTP library
would send there is `tests.fakes.raw_server`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.fakes.openai_completion import completion


@dataclass(eq=False)
class Call:
    """One call, as the server saw it."""

    number: int
    """Position in the log."""
    headers: Mapping[str, str]
    """The headers, their names in lower case."""
    raw: bytes = field(repr=False)
    """The body as it came."""
    connection: int = 0
    """Number of the connection; calls with the same one shared it."""
    outcome: Literal["running", "answered", "cancelled"] = "running"
    """How it ended; `cancelled`: the client hung up first."""
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set when it has an outcome."""

    def __post_init__(self) -> None:
        self.body: dict[str, Any] = json.loads(self.raw)

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body["model"])

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages sent."""
        return list(self.body["messages"])

    @property
    def prompt(self) -> str:
        """The contents of the messages, one after the other, a blank line between."""
        return "\n\n".join(message["content"] for message in self.messages)

    @property
    def seed(self) -> int | None:
        """The seed, if one was sent."""
        return self.body.get("seed")

    @property
    def n(self) -> int:
        """How many choices were asked for."""
        return int(self.body.get("n", 1))

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the reply should follow, if one was sent."""
        form = self.body.get("response_format") or {}
        return form["json_schema"]["schema"] if form.get("type") == "json_schema" else None


@dataclass(frozen=True)
class Reply:
    """A good answer."""

    text: str | Sequence[str | None] | None = None
    """What it says: one text for every choice, or one each; None derives them."""
    finish: str | None = None
    """`finish_reason`; None is `length` where the text was cut at `max_tokens`, else `stop`."""
    choices: int | None = None
    """How many choices to give, whatever was asked for; None gives what was asked for."""
    prompt_tokens: int | None = None
    """Tokens read; None counts the words of the messages."""
    cached_tokens: int | None = None
    """Tokens read from the cache; None leaves the field out, as many servers do."""
    message: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of each choice's message, such as `refusal`."""
    after: asyncio.Event | None = None
    """The answer waits for this event."""
    delay_seconds: float = 0.0
    """The answer then waits for this long; for measurements, not for tests."""


@dataclass(frozen=True)
class Fault:
    """An answer of any other kind."""

    status: int = 500
    """The HTTP status."""
    body: bytes | str | Mapping[str, Any] = b""
    """The body; a mapping is sent as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers."""
    content_type: str = "application/json"
    """The type of the body."""
    disconnect: bool = False
    """Close the connection in place of an answer."""
    after: asyncio.Event | None = None
    """The answer waits for this event."""


Script = Callable[[Call], Reply | Fault | Awaitable[Reply | Fault]]
"""What a server does."""


def derived(call: Call) -> Reply:
    """Say something that depends on the model, the messages and the seed alone."""
    return Reply()


def says(*answers: Reply | Fault | str) -> Script:
    """Return the script that gives these answers in turn, and the last one ever after."""
    left = [Reply(answer) if isinstance(answer, str) else answer for answer in answers]
    return lambda call: left.pop(0) if len(left) > 1 else left[0]


def error(
    status: int,
    message: str = "something is wrong",
    *,
    code: str | int | None = None,
    type: str = "error",
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """Return an error as OpenAI words it."""
    body = {"error": {"message": message, "type": type, "param": None, "code": code}}
    return Fault(status, body, headers or {})


FAILURES: tuple[Fault, ...] = (
    error(429, "too many requests"),
    error(500, "internal error"),
    error(503, "overloaded"),
    Fault(disconnect=True),
    Fault(200, "<html>bad gateway</html>", content_type="text/html"),
    Fault(200, '{"choices": [{"message": {"con'),
    Fault(200, {"choices": []}),
)
"""Faults that another try mends."""


def unreliable(
    share: float,
    rng: random.Random,
    otherwise: Script = derived,
    faults: Sequence[Fault] = FAILURES,
) -> Script:
    """Return the script that fails a call with probability `share`, one of `faults` each time."""
    return lambda call: rng.choice(faults) if rng.random() < share else otherwise(call)


class OpenAIServer:
    """A running server."""

    def __init__(self, script: Script, schema: Literal["enforced", "ignored", "rejected"]) -> None:
        self.script = script
        """What it does; may be replaced while it runs."""
        self.calls: list[Call] = []
        """Every call, in the order of arrival."""
        self.base_url = ""
        """What a client is told, ending in `/v1`."""
        self.in_flight = 0
        """Calls without an answer now."""
        self.most_in_flight = 0
        """Most calls without an answer at once."""
        self._schema = schema
        self._connections: dict[object, int] = {}

    @property
    def connections(self) -> int:
        """How many connections brought calls."""
        return len(self._connections)

    @property
    def cancelled(self) -> int:
        """How many calls the client gave up."""
        return sum(call.outcome == "cancelled" for call in self.calls)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Log the call and answer it."""
        call = Call(
            len(self.calls),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
            self._connections.setdefault(request.protocol, len(self._connections)),
        )
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            response = await self._respond(call, request)
            call.outcome = "answered"
            return response
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
        finally:
            self.in_flight -= 1
            call.ended.set()

    async def _respond(self, call: Call, request: web.Request) -> web.StreamResponse:
        given = self.script(call)
        said = await given if inspect.isawaitable(given) else given
        if call.schema is not None and self._schema == "rejected" and isinstance(said, Reply):
            said = error(400, "response_format type json_schema is not supported")
        if said.after is not None:
            await said.after.wait()
        if isinstance(said, Reply):
            await asyncio.sleep(said.delay_seconds)
            return web.json_response(completion(call, said, schema=self._schema == "enforced"))
        if said.disconnect:
            assert request.transport is not None
            request.transport.abort()
        body = json.dumps(dict(said.body)) if isinstance(said.body, Mapping) else said.body
        return web.Response(
            body=body,
            status=said.status,
            headers={"Content-Type": said.content_type, **said.headers},
        )


@asynccontextmanager
async def openai_server(
    script: Script = derived,
    *,
    schema: Literal["enforced", "ignored", "rejected"] = "enforced",
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[OpenAIServer]:
    """Run a server that follows `script`.

    `schema` says what it does with a JSON schema in `response_format`: `derived` replies follow
    it, ignore it, or the call is refused with status 400.
    """
    server = OpenAIServer(script, schema)
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        server.base_url = f"http{'' if tls is None else 's'}://{host}:{port}/v1"
        yield server
    finally:
        await runner.cleanup()
