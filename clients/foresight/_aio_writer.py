"""Writes the groups of an async stream while another task reads what comes back.

Invariants: writing stops when the call ends, whoever ended it. What the caller's own iterator
raises ends the call and is kept for the reader to raise, where the caller sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Any

import grpc

from foresight._stream import Request, RewardStream
from foresight.v1.reward_service_pb2 import StreamRewardsRequest

__all__ = ["GroupWriter"]


class GroupWriter:
    """The sending half of one call."""

    failure: Exception | None = None
    """What the caller's iterator, or a group of it, raised."""

    def __init__(
        self, call: Any, stream: RewardStream, requests: Iterable[Request] | AsyncIterable[Request]
    ) -> None:
        self._call = call
        self._stream = stream
        self._requests = requests
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write in the background."""
        self._task = asyncio.create_task(self._write())
        # A write that fails after the call has ended would replace the status that it ended with
        # by INTERNAL (grpc/grpc#36066), so there must be none.
        self._call.add_done_callback(self._cancel)

    async def stop(self) -> None:
        """Stop writing and wait until the caller's iterator is let go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _cancel(self, _call: object) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _write(self) -> None:
        messages = self._messages()
        try:
            async for message in messages:
                await self._call.write(message)
            if self.failure is None:
                await self._call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the call has ended; the reader tells why
        finally:
            await messages.aclose()

    async def _messages(self) -> AsyncGenerator[StreamRewardsRequest, None]:
        try:
            if isinstance(self._requests, AsyncIterable):
                async for request in self._requests:
                    yield self._stream.encode(request)
            else:
                for request in self._requests:
                    yield self._stream.encode(request)
        except Exception as failure:
            self.failure = failure
            self._call.cancel()
