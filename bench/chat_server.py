"""A server of the OpenAI chat API that answers every call with the same reply, as fast as it can.

python -m bench.chat_server        # prints its base_url, serves until it is killed
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

REPLY = "A model that answers at some length says about as much as this sentence does. " * 5


def _answer() -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": REPLY},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 600,
            "completion_tokens": 80,
            "total_tokens": 680,
            "prompt_tokens_details": {"cached_tokens": 512},
        },
    }
    content = json.dumps(body).encode()
    head = (
        "HTTP/1.1 200 OK\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\nserver: bench\r\n"
        f"content-length: {len(content)}\r\ncontent-type: application/json\r\n\r\n"
    )
    return head.encode() + content


class _Connection(asyncio.Protocol):
    """Answers each request once its body is complete; understands `Content-Length` only."""

    answer = _answer()

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(rest) < size:
                return
            self._data = rest[size:]
            self._transport.write(self.answer)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@asynccontextmanager
async def chat_server() -> AsyncIterator[str]:
    """Run the server as a process of its own; yield its base_url."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.chat_server"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(_serve())
