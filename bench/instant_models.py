"""A model server that answers at once, as a process of its own.

    python -m bench.instant_models     # prints its base_url, serves until it is killed

It speaks as much of the OpenAI chat API as Foresight uses. Users, judges and policies are told
apart by the schema that their answers must keep to; each answer has another text, with `n` choices
where as many are asked for.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from itertools import cycle
from typing import Any, Final

import uvloop

_VOCABULARY: Final = (
    "the of and to in a is that for it was on are as with his they at be this from have or by one"
    " had not but what all were when we there can an your which their said if do will each about"
    " how up out them then she many some so these would other into has more her two like him see"
    " time could no make than first been its who now people my made over did down only way find"
    " use may water long little very after words called just where most know quadratic equation"
    " essay paragraph argument recipe schedule budget travel garden program function result"
).split()

_KINDS: Final = (b'"thought"', b'"interactivity"', b'"accuracy"')
"""What the schema of a user's reply and of each verdict names, in order of preference."""

_CHOICES: Final = re.compile(rb'[{,]\s*"n":\s*(\d+)')


def words(rng: random.Random, count: int) -> str:
    """Return so many words."""
    return " ".join(rng.choices(_VOCABULARY, k=count))


@cache
def _replies(kind: bytes | None, choices: int) -> Iterator[bytes]:
    """Yield whole HTTP answers, each with other texts, for ever."""
    rng = random.Random(7)
    made = []
    for _ in range(997):
        usage = {"prompt_tokens": 600, "completion_tokens": 80 * choices}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "choices": [_choice(rng, kind, index) for index in range(choices)],
            "usage": {**usage, "total_tokens": sum(usage.values())},
        }
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n"
        made.append(f"{head}content-type: application/json\r\n\r\n".encode() + body)
    return cycle(made)


def _choice(rng: random.Random, kind: bytes | None, index: int) -> dict[str, Any]:
    content = words(rng, 60)
    if kind == b'"thought"':
        content = json.dumps({"thought": words(rng, 15), "message": content, "done": False})
    elif kind is not None:
        content = json.dumps({"rationale": content, kind.decode().strip('"'): 1})
    message = {"role": "assistant", "content": content}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}


class _Connection(asyncio.Protocol):
    """Answers each request once its body is complete, in the role that its schema asks for."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < size:
            return
        self._data = b""
        schema = body.partition(b'"response_format"')[2]
        kind = next((kind for kind in _KINDS if kind in schema), None)
        # In a message's text the quotes would have a backslash before them.
        choices = _CHOICES.search(body)
        self._transport.write(next(_replies(kind, int(choices[1]) if choices else 1)))


async def _serve_models() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@asynccontextmanager
async def model_server() -> AsyncIterator[str]:
    """Run the model server as a process of its own; yield its base_url."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.instant_models"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(_serve_models())
