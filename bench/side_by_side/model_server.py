"""A loopback server of the OpenAI chat API that keeps account of every call.

    python -m bench.side_by_side.model_server     # prints its address, serves until it is killed

The models `user`, `policy` and `judge` answer under `/v1`. `POST /reset` sets how the server
behaves (`backend.Behaviour`) and forgets all calls, `GET /log` returns them (`call_log.Call`),
`GET /prefixes` how much of the prompts an earlier one began with. Requests are read by hand,
`Content-Length` only and one at a time per connection, so that the server takes little of the
machine that it shares with what is measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from typing import Any, Final

import uvloop

from bench.side_by_side.backend import Behaviour, Latency
from bench.side_by_side.call_log import Call
from bench.side_by_side.prefixes import Prompt, rendered, reuse
from bench.side_by_side.replies import case_of, parent_of, reply, tag_of
from bench.side_by_side.slots import Place, Slots

_CHARACTERS_PER_TOKEN: Final = 4
_WORDS: Final = {200: b"OK", 400: b"Bad Request", 404: b"Not Found"}


class Backend:
    """What the server has been told, and what it has been asked."""

    def __init__(self) -> None:
        self.reset(Behaviour(Latency("fixed", 0.0)))

    def reset(self, behaviour: Behaviour) -> None:
        """Behave so from now on, and forget every call."""
        self.behaviour = behaviour
        self.slots = Slots(behaviour.slots, time.monotonic)
        self.calls: list[Call] = []
        self.bodies: list[bytes] = []
        self._asked: Counter[bytes] = Counter()

    def digest(self, body: bytes) -> bytes:
        """Return the digest of a call: of its body, and of how often that came before."""
        again = self._asked[body_digest := hashlib.blake2b(body, digest_size=16).digest()]
        self._asked[body_digest] += 1
        return hashlib.blake2b(body_digest + again.to_bytes(8, "big"), digest_size=24).digest()

    def fault(self, digest: bytes) -> int:
        """Return the status with which the call is refused; 0 where it is not."""
        if _share(digest[16:20]) >= self.behaviour.fault_share:
            return 0
        return 503 if digest[20] % 2 else 429

    def seconds(self, digest: bytes) -> float:
        """Return how long the call takes."""
        return self.behaviour.latency.seconds(_share(digest[9:16]))

    def prompts(self) -> list[Prompt]:
        """Return the prompts of all calls."""
        asked = map(json.loads, self.bodies)
        return [Prompt(body["model"], rendered(body["messages"])) for body in asked]


class Connection(asyncio.Protocol):
    """One client's connection: a request, its answer, the next request."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._data = b""
        self._place: Place | None = None
        self._slots = backend.slots

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._place is not None:
            self._slots.leave(self._place)
            self._place = None

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._place is None:
            self._next()

    def _next(self) -> None:
        """Take up the next request, if all of it is there."""
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < size:
            return
        self._data = rest[size:]
        method, path, *_ = head.split(b" ", 2)
        body = rest[:size]
        if path == b"/v1/chat/completions":
            self._chat(body)
        elif (method, path) == (b"POST", b"/reset"):
            self._backend.reset(Behaviour.from_json(json.loads(body)))
            self._answer(200, b"{}")
        elif path == b"/log":
            self._answer(200, json.dumps(self._backend.calls).encode())
        elif path == b"/prefixes":
            found = reuse(self._backend.prompts())
            self._answer(200, json.dumps([found.repeated, found.total]).encode())
        else:
            self._answer(404, b"{}")

    def _chat(self, body: bytes) -> None:
        arrival, backend = time.monotonic(), self._backend
        asked = json.loads(body)
        prompt = "\n".join(message["content"] for message in asked["messages"])
        digest, role = backend.digest(body), asked["model"]
        try:
            choices = asked.get("n", 1)
            texts = [reply(role, prompt, digest, choice) for choice in range(choices)]
        except ValueError as error:
            self._answer(400, json.dumps({"error": {"message": str(error)}}).encode())
            return
        parent, case = parent_of(prompt), case_of(prompt)
        sent = (role, len(prompt), case)
        backend.bodies.append(body)
        if status := backend.fault(digest):
            backend.calls.append(Call(arrival, arrival, arrival, *sent, "", parent, status))
            self._answer(status, b'{"error":{"message":"overloaded"}}')
            return
        answer, calls = _completion(role, texts, len(prompt)), backend.calls

        def end(start: float, end: float) -> None:
            self._place = None
            calls.append(Call(arrival, start, end, *sent, tag_of(digest), parent, 200, choices))
            self._answer(200, answer)

        self._slots = backend.slots
        self._place = Place(backend.seconds(digest), end)
        self._slots.enter(self._place)

    def _answer(self, status: int, content: bytes) -> None:
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        reason = _WORDS.get(status, b"Unavailable")
        self._transport.write(head % (status, reason, len(content)) + content)
        if self._data:
            self._next()


def _share(digest: bytes) -> float:
    """Return a number strictly between 0 and 1."""
    return (int.from_bytes(digest, "big") + 0.5) / 256 ** len(digest)


def _completion(model: str, texts: list[str], characters: int) -> bytes:
    read = characters // _CHARACTERS_PER_TOKEN
    written = sum(map(len, texts)) // _CHARACTERS_PER_TOKEN
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        for index, text in enumerate(texts)
    ]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": choices,
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }
    return json.dumps(body).encode()


async def serve() -> None:
    """Serve on a free port of this machine, whose address is printed."""
    backend = Backend()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(backend), "127.0.0.1", 0, backlog=8192)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
