"""The service's end of a program's channel: JSON objects, each after its length in four bytes."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from foresight_services.sandbox.port import Message

_LENGTH_BYTES: Final = 4
_MAX_MESSAGE_BYTES: Final = 1 << 20
"""Far more than a report of tests needs; nothing longer is read."""


class StreamChannel:
    """A channel over a socket; implements the port `Channel`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: Message) -> None:
        """Send `message`, however slowly it is read; the run's wall time bounds it."""
        text = json.dumps(message).encode()
        try:
            self._writer.write(len(text).to_bytes(_LENGTH_BYTES, "big") + text)
            await self._writer.drain()
        except ConnectionError:
            return  # nobody is left to read it; how the program ended says why

    def finish(self) -> None:
        """Tell the program that nothing more will be sent."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    async def receive(self) -> Message | None:
        """Return the next message, or None where there is none."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            if length > _MAX_MESSAGE_BYTES:
                return None
            message = json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None
