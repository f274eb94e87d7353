"""Several connections that are used in turn, as one channel.

Processes that share a port are chosen by the system, once for each connection. Over one connection
a caller would reach one of them alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

OWN_CONNECTION: Final = ("grpc.use_local_subchannel_pool", 1)
"""Option of a channel: channels with the same target share one connection otherwise."""


class SpreadChannel(grpc.aio.Channel):
    """Makes every call on the next of its channels."""

    def __init__(self, channels: Sequence[grpc.aio.Channel]) -> None:
        """Use `channels`, at least one, which are closed with it."""
        self._channels = tuple(channels)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close all channels; calls in flight are given `grace` seconds."""
        for channel in self._channels:
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the first channel."""
        return self._channels[0].get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state of the first channel is another one."""
        await self._channels[0].wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until all channels are connected."""
        for channel in self._channels:
            await channel.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method of one request and one response."""
        return _in_turn([channel.unary_unary(*args, **kwargs) for channel in self._channels])

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method of one request and many responses."""
        return _in_turn([channel.unary_stream(*args, **kwargs) for channel in self._channels])

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method of many requests and one response."""
        return _in_turn([channel.stream_unary(*args, **kwargs) for channel in self._channels])

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method of many requests and many responses."""
        return _in_turn([channel.stream_stream(*args, **kwargs) for channel in self._channels])


def _in_turn(callables: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    turns = itertools.cycle(callables)

    def call(*args: Any, **kwargs: Any) -> Any:
        return next(turns)(*args, **kwargs)

    return call
