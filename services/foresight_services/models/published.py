"""Models of published versions: opened when a request needs one, shared, and closed when idle.

What a version needs is kept open while any request holds it and for some time after, bounded by
number: a trainer that publishes every step leaves a trail of versions, of which the last few are
in use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from foresight_services.core.errors import Precondition, Reason
from foresight_services.core.ports import ChatModel
from foresight_services.core.published import PublishedPolicy, SourceKind

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model of one version, ready to be called."""

    model: ChatModel
    """The model."""
    close: Callable[[], Awaitable[None]]
    """Lets go of what it holds; called once, when no request uses it."""


Opener = Callable[[PublishedPolicy], Awaitable[OpenedModel]]
"""Opens versions of one kind of source."""

Openers = Mapping[SourceKind, Opener]
"""What a policy's versions can be served by; a kind that is missing is refused."""


@dataclass(slots=True, eq=False)
class _Entry:
    opening: asyncio.Task[OpenedModel]
    users: int = 0


class SharedPublishedModels:
    """Opens each version once; implements the port `PublishedModels`. Close it with `aclose`."""

    def __init__(self, openers: Mapping[str, Openers], *, default: str, max_idle: int = 4) -> None:
        """Open versions with the openers of their name.

        Args:
            openers: by name of a configured policy.
            default: whose openers serve names that are published and not configured.
            max_idle: versions that stay open though no request uses them, at least 0.
        """
        self._openers = openers
        self._default = default
        self._max_idle = max_idle
        self._entries: dict[PublishedPolicy, _Entry] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, policy: PublishedPolicy) -> AsyncIterator[ChatModel]:
        """Hold the model of `policy`; see the port."""
        entry = self._entries.get(policy)
        if entry is None:
            opening = asyncio.ensure_future(self._opener(policy)(policy))
            opening.add_done_callback(_retrieve)
            entry = self._entries[policy] = _Entry(opening)
        entry.users += 1
        try:
            # A request that leaves must not take the model from the others that wait for it.
            yield (await asyncio.shield(entry.opening)).model
        finally:
            entry.users -= 1
            self._release(policy, entry)

    async def aclose(self) -> None:
        """Close every model, idle or not."""
        entries, self._entries = tuple(self._entries.items()), {}
        for policy, entry in entries:
            if not entry.opening.done():
                entry.opening.cancel()
                await asyncio.wait([entry.opening])
            self._close(policy, entry)
        if self._closing:
            await asyncio.wait(tuple(self._closing))

    def _opener(self, policy: PublishedPolicy) -> Opener:
        name, kind = policy.ref.name, policy.source.kind
        openers = self._openers.get(name) or self._openers.get(self._default, {})
        opener = openers.get(kind)
        if opener is None:
            raise Precondition(
                Reason.MODEL_REJECTED,
                f"policy {name!r} cannot be served by its {kind}: the simulator's configuration of"
                f" {name if name in self._openers else self._default!r} offers"
                f" {', '.join(openers) or 'no kind of published weights'}",
                metadata={"model": name, "kind": kind},
            )
        return opener

    def _release(self, policy: PublishedPolicy, entry: _Entry) -> None:
        """Keep what is idle in the order of its last use, and close the oldest beyond the bound."""
        if self._entries.get(policy) is not entry:  # closed while it was in use
            return
        if _failed(entry.opening):
            del self._entries[policy]
            return
        if entry.users == 0:
            self._entries[policy] = self._entries.pop(policy)
        idle = [(p, e) for p, e in self._entries.items() if e.users == 0]
        for oldest, unused in idle[: max(0, len(idle) - self._max_idle)]:
            del self._entries[oldest]
            self._close(oldest, unused)

    def _close(self, policy: PublishedPolicy, entry: _Entry) -> None:
        task = asyncio.create_task(self._closed(policy, entry.opening))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _closed(self, policy: PublishedPolicy, opening: asyncio.Task[OpenedModel]) -> None:
        await asyncio.wait([opening])
        if _failed(opening):
            return
        try:
            await opening.result().close()
        except Exception:
            _log.exception("version %s of %s was not closed", policy.ref.version, policy.ref.name)


def _failed(opening: asyncio.Task[OpenedModel]) -> bool:
    return opening.done() and (opening.cancelled() or opening.exception() is not None)


def _retrieve(opening: asyncio.Task[OpenedModel]) -> None:
    """Take note of a failure that nobody may be left to wait for."""
    if not opening.cancelled():
        opening.exception()
