"""The versions of published policies in Redis, the same for all replicas.

    PREFIX:policies           hash: a name's history by the name, without a lifetime
    PREFIX:policies:changed   channel: names of which something was published

Every computation asks Redis, in one round trip; those that begin at once ask together. A replica
keeps a copy of all that it has read, and the copy only grows: while Redis does not answer, the copy
does; what Redis has lost, because it was flushed, evicted the key or changed masters, is put back
by the first replica that notices. All look at every `poll_seconds`, and at once when a message
comes: so computations hear that their version is taken away.

A publication needs Redis. It is refused where Redis does not confirm it, and not kept for later, so
that what was acknowledged is known to every replica that can ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from foresight_services.cache.envelope import NotAValue
from foresight_services.cache.guard import Guard, StoreFailed
from foresight_services.cache.redis_faults import LOST_NODE, fault_of
from foresight_services.cache.redis_link import Command, RedisLink
from foresight_services.cache.redis_news import RedisNews
from foresight_services.cache.redis_policies_reads import Reads
from foresight_services.cache.redis_policies_value import (
    NAMESPACE,
    HistoryCodec,
    OtherLayout,
    can_be_published,
    key_of,
)
from foresight_services.core.cache import (
    BypassReason,
    CacheFault,
    CacheKey,
    CacheObserver,
    CacheOperation,
)
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.policy_store import History, Listener

NAMES_AT_ONCE: Final = 32
"""Names of one look, so that none takes long."""

# Of one key, and asked again harmless: who finds its own value there has it replaced.
REPLACE: Final = (
    "local now = redis.call('HGET', KEYS[1], ARGV[1]) or '' "
    "if now ~= ARGV[2] and now ~= ARGV[3] then return 0 end "
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) return 1"
)


@dataclass(slots=True)
class _Copy:
    """What this replica knows of one name."""

    history: History = History()
    """All that was ever read."""
    raw: bytes = b""
    """What Redis held last; empty for nothing."""
    behind: bool = False
    """Whether that lacks something of `history`."""
    other_layout: bool = False
    """Whether it is not ours to change."""


class RedisPolicyStore:
    """Implements the port `PolicyStore` on Redis, for callers of one event loop."""

    def __init__(
        self,
        link: RedisLink,
        *,
        key_prefix: str,
        poll_seconds: float,
        codec: HistoryCodec,
        guard: Guard,
        observer: CacheObserver,
    ) -> None:
        """Use the server behind `link`.

        Args:
            link: connections, as many as `guard` lets calls through at once.
            key_prefix: what the key and the channel begin with.
            poll_seconds: how soon this replica notices what no message told it.
            codec: packs histories.
            guard: makes the calls.
            observer: told of everything that happens; a read that was answered by the copy is a
                miss of the namespace `policy`.
        """
        self._link = link
        self._key = f"{key_prefix}:policies".encode("ascii")
        self._channel = self._key + b":changed"
        self._poll_seconds = poll_seconds
        self._codec = codec
        self._guard = guard
        self._observer = observer
        self._copies: dict[str, _Copy] = {}
        self._listeners: list[Listener] = []
        self._reads = Reads(
            partial(self._look, CacheOperation.GET), guard, most_names=NAMES_AT_ONCE
        )
        self._news = RedisNews(link, self._channel, self, observer)
        self._said: set[CacheKey] | None = None
        """Whose histories to look at next; None for all."""
        self._wake = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read everything, and listen and look from now on."""
        self._news.start()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Let go of all connections; later reads are answered by the copy."""
        await self._news.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        if await self._guard.close():
            await self._link.close()

    def listen(self, tell: Listener) -> None:
        """Implement `PolicyStore.listen`."""
        self._listeners.append(tell)

    async def names(self) -> tuple[str, ...]:
        """Implement `PolicyStore.names`."""
        nothing: set[str] = set()
        there = await self._guard.call(CacheOperation.GET, 1, self._ask_names, nothing)
        known = {name for name, copy in self._copies.items() if copy.history.versions}
        return tuple(sorted(there | known))

    async def read(self, name: str) -> History:
        """Implement `PolicyStore.read`."""
        if not can_be_published(name):
            return History()
        told = await self._reads.read(name)
        self._observer.looked_up(NAMESPACE, hits=int(told), misses=int(not told), size=0)
        copy = self._copies.get(name)
        return History() if copy is None else copy.history

    async def replace(self, name: str, old: History, new: History) -> bool:
        """Implement `PolicyStore.replace`."""
        copy = self._copies.get(name, _Copy())
        if copy.history != old:
            return False
        if copy.other_layout:
            raise _refused("holds it as another version of Foresight wrote it", "layout")
        faults: list[CacheFault] = []
        work = partial(self._swap, name, copy.raw, self._codec.pack(name, new), faults)
        replaced = await self._guard.call(CacheOperation.PUT, 1, work, None)
        if replaced is not None:
            return replaced
        if faults:
            raise _refused(f"failed ({faults[0]})", faults[0])
        if self._guard.outage.lasts:
            raise _refused("failed several times and is tried again soon", BypassReason.OUTAGE)
        raise _refused("has too many calls to answer", CacheFault.TIMEOUT)

    def hint(self, keys: Collection[CacheKey] | None = None) -> None:
        """Look at the names that `keys` stand for as soon as possible, or at all."""
        if keys is None:
            self._said = None
        elif self._said is not None:
            self._said.update(keys)
        self._wake.set()

    async def _watch(self) -> None:
        """Look at all names every `poll_seconds`, and at those of messages at once."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            said, self._said = self._said, set()
            self._wake.clear()
            ours = {key_of(name): name for name in self._copies}
            # A name that is new here is found where all are.
            if said is None or loop.time() >= due or not said <= ours.keys():
                names: Sequence[str] = await self.names()
                due = loop.time() + self._poll_seconds
            else:
                names = sorted(ours[key] for key in said)
            for start in range(0, len(names), NAMES_AT_ONCE):
                await self._look(CacheOperation.WATCH, names[start : start + NAMES_AT_ONCE])
            try:
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self, operation: CacheOperation, names: Collection[str]) -> bool:
        """Ask about `names`; False where Redis does not answer."""
        return await self._guard.call(operation, len(names), partial(self._ask, names), False)

    async def _ask_names(self) -> set[str]:
        (reply,) = await self._run((("HKEYS", self._key),))
        if not isinstance(reply, list):
            raise StoreFailed(CacheFault.GARBAGE)
        names = {field.decode("ascii", "replace") for field in reply if isinstance(field, bytes)}
        return {name for name in names if can_be_published(name)}

    async def _ask(self, names: Collection[str]) -> bool:
        """Take in what Redis holds of `names`, and put back what it lacks; True."""
        (reply,) = await self._run((("HMGET", self._key, *names),))
        if not isinstance(reply, list) or len(reply) != len(names):
            raise StoreFailed(CacheFault.GARBAGE)
        for name, raw in zip(names, reply, strict=True):
            self._take(name, raw if isinstance(raw, bytes) else b"")
        behind = {name: copy for name in names if (copy := self._copies.get(name)) and copy.behind}
        if behind:
            await self._put_back(behind)
        return True

    async def _put_back(self, copies: dict[str, _Copy]) -> None:
        packed = [self._codec.pack(name, copy.history) for name, copy in copies.items()]
        commands = [
            self._replacing(name, copy.raw, value)
            for (name, copy), value in zip(copies.items(), packed, strict=True)
        ]
        replies = await self._link.run(commands, self._message(copies))
        faults = set[CacheFault]()
        for name, value, reply in zip(copies, packed, replies[:-1], strict=True):
            if reply == 1:
                self._take(name, value)
            elif isinstance(reply, Exception):
                faults.add(fault_of(reply) or CacheFault.UNEXPECTED)
        self._guard.note(CacheOperation.PUT, faults)
        if faults & LOST_NODE:
            await self._link.lost()

    async def _swap(self, name: str, old: bytes, new: bytes, faults: list[CacheFault]) -> bool:
        """Replace one history; `faults` then holds what went wrong, if anything did."""
        # Unless this gets to its end, it was cancelled.
        faults[:] = [CacheFault.TIMEOUT]
        try:
            replies = await self._run((self._replacing(name, old, new),), self._message((name,)))
            if replies[0] not in (0, 1):
                raise StoreFailed(CacheFault.GARBAGE)
        except Exception as error:
            named = error.fault if isinstance(error, StoreFailed) else fault_of(error)
            faults[:] = [named or CacheFault.UNEXPECTED]
            raise
        if replies[0] == 0:
            return False
        self._take(name, new)
        return True

    async def _run(self, commands: Sequence[Command], say: Command | None = None) -> list[object]:
        """Return the replies; raise the first that is an error, of a message left aside."""
        replies = await self._link.run(commands, say)
        for reply in replies[: len(commands)]:
            if isinstance(reply, Exception):
                if fault_of(reply) in LOST_NODE:
                    await self._link.lost()
                raise reply
        return replies

    def _take(self, name: str, raw: bytes) -> None:
        """Join what Redis holds of a name with what is known of it."""
        copy = self._copies.get(name)
        if raw == (b"" if copy is None else copy.raw):
            return
        copy = copy or _Copy()
        there, other_layout = History(), False
        try:
            there = self._codec.unpack(name, raw) if raw else there
        except OtherLayout:
            other_layout = True
        except NotAValue:
            self._guard.note(CacheOperation.GET, {CacheFault.GARBAGE})
        before, history = copy.history, copy.history.joined(there)
        behind = history != there and not other_layout
        self._copies[name] = _Copy(history, raw, behind, other_layout)
        if history != before:
            for tell in self._listeners:
                tell(name, history)

    def _replacing(self, name: str, old: bytes, new: bytes) -> Command:
        return ("EVAL", REPLACE, 1, self._key, name, old, new)

    def _message(self, names: Collection[str]) -> Command:
        return ("PUBLISH", self._channel, RedisNews.message([key_of(name) for name in names]))


def _refused(problem: str, fault: str) -> Upstream:
    return Upstream(
        Reason.SERVICE_UNAVAILABLE,
        f"nothing was published: Redis, which keeps the policies of all replicas, {problem};"
        " publish again",
        metadata={"service": "redis", "fault": fault},
    )
