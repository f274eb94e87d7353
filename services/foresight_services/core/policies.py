"""Which versions of a policy exist, which one a request gets, and when one is taken from it.

A request resolves its policy once, at its start, and keeps that version to its end: publishing a
newer one changes nothing for it. It ends earlier, with the reason STALE_POLICY, where the publisher
asks for that or where the newer version has taken its place on the same server.

Invariants: the newest version of a name only grows, whatever the order of the calls; a version,
once registered, never changes. Replicas know the same where they are given one store, and what is
published to one of them then ends computations in all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from foresight_services.core import checks, published
from foresight_services.core.errors import (
    DomainError,
    InvalidInput,
    LimitReached,
    NotFound,
    Precondition,
    Reason,
    Violation,
)
from foresight_services.core.policy_store import KEPT_VERSIONS, History, PolicyStore
from foresight_services.core.ports import ChatModel
from foresight_services.core.published import PolicySource, PublishedPolicy
from foresight_services.core.task import PolicyRef

MAX_POLICIES: Final = 1024
"""Names that can be published; a few more where several replicas take new ones at once."""


class PublishedModels(Protocol):
    """Makes models of published versions."""

    def open(self, policy: PublishedPolicy) -> AbstractAsyncContextManager[ChatModel]:
        """Return the model that plays `policy`; it stays loaded while the context is open.

        Raises a DomainError where the version can certainly not be played, such as a directory that
        holds no adapter; what may pass is left to the calls.
        """
        ...


class PolicyUse:
    """One computation's hold on a policy version."""

    def __init__(self, asked: PolicyRef) -> None:
        self.ref = asked
        """The version that plays; 0 for a configured policy that was never published."""
        self.published: PublishedPolicy | None = None
        """Where it is served; None for a configured policy."""
        self._resolved = False
        self._outdated = False
        self._cancelled_at_ns = 0
        self.withdrawal: DomainError | None = None
        """Why the version was taken away; None while it plays."""
        self._tell: Callable[[DomainError], None] | None = None

    def when_withdrawn(self, tell: Callable[[DomainError], None]) -> None:
        """Have `tell` called once if the version is taken away, at once if that has happened."""
        self._tell = tell
        if self.withdrawal is not None:
            tell(self.withdrawal)

    async def _resolve(self, store: PolicyStore) -> None:
        """Take the version that was asked for, from a history that nothing was published since."""
        while True:
            self._outdated = False
            history = await store.read(self.ref.name)
            if not self._outdated:
                break
        if history.newest is not None:
            self.published = _find(history, self.ref)
            self.ref = self.published.ref
        self._cancelled_at_ns = history.cancelled_at_ns
        self._resolved = True

    def _changed(self, history: History) -> None:
        """Notice that something was published, which leaves `history`."""
        self._outdated = True
        newest = history.newest
        if not self._resolved or newest is None or self.ref.version >= newest.ref.version:
            return
        # What was cancelled before this computation began does not concern it.
        cancelled = (
            history.cancelled_at_ns > self._cancelled_at_ns
            and self.ref.version < history.cancelled_below
        )
        replaced = self.published is not None and history.replaced(self.published)
        if (cancelled or replaced) and self.withdrawal is None:
            self.withdrawal = _stale(
                f"version {self.ref.version} of policy {self.ref.name!r} was taken away when"
                f" version {newest.ref.version} was published",
                newest.ref,
            )
            if self._tell is not None:
                self._tell(self.withdrawal)


class PolicyRegistry:
    """Publishes versions and hands them to computations."""

    def __init__(self, *, store: PolicyStore, now_ns: Callable[[], int]) -> None:
        """Keep versions in `store`; `now_ns` is the wall clock, nanoseconds since 1970 (UTC)."""
        self._store = store
        self._now_ns = now_ns
        self._uses: dict[str, set[PolicyUse]] = {}
        store.listen(self._changed)

    async def publish(
        self, ref: PolicyRef, source: PolicySource | None, *, cancel_in_flight: bool = False
    ) -> PublishedPolicy:
        """Register a version and return it; the newest one may be registered again as it was.

        Args:
            ref: name and version.
            source: where the version is served.
            cancel_in_flight: whether computations on older versions end now.

        Raises:
            InvalidInput: with every field that is wrong.
            Precondition: STALE_POLICY where the version is not newer than the newest one.
            LimitReached: where too many names were published.
            Upstream: SERVICE_UNAVAILABLE where the store of the replicas does not confirm it.
        """
        checks.require(published.violations("policy", ref, source))
        assert source is not None, "checked above"
        while True:
            history = await self._store.read(ref.name)
            policy, extended = history.newest, history
            if policy is None or policy.ref != ref or policy.source != source:
                await self._admit(history, ref, source)
                policy = PublishedPolicy(ref, source, self._now_ns())
                extended = history.extended(policy)
            if cancel_in_flight:
                extended = extended.cancelled(self._now_ns())
            # Even where nothing changes: what the store does not confirm is not acknowledged.
            if await self._store.replace(ref.name, history, extended):
                return policy

    async def get(self, ref: PolicyRef) -> PublishedPolicy:
        """Return one version, 0 for the newest; NotFound where it is not known."""
        history = await self._store.read(ref.name)
        if history.newest is None:
            raise NotFound(
                Reason.UNKNOWN_POLICY,
                f"no version of policy {ref.name[:64]!r} was published",
                metadata={"policy": ref.name[:64], "version": str(ref.version)},
            )
        return _find(history, ref, even_replaced=True)

    async def newest(self) -> tuple[PublishedPolicy, ...]:
        """Return the newest version of every policy, by name."""
        histories = [await self._store.read(name) for name in await self._store.names()]
        return tuple(history.newest for history in histories if history.newest is not None)

    @asynccontextmanager
    async def using(self, ref: PolicyRef) -> AsyncIterator[PolicyUse]:
        """Resolve `ref` and hold the version for a computation.

        A name that was never published is left to the simulator, which knows the configured ones.

        Raises:
            NotFound: where the name was published, but not this version of it.
            Precondition: STALE_POLICY where a newer version took its place on its server.
        """
        use = PolicyUse(ref)
        uses = self._uses.setdefault(ref.name, set())
        uses.add(use)
        try:
            await use._resolve(self._store)
            yield use
        finally:
            uses.discard(use)
            if not uses and self._uses.get(ref.name) is uses:
                del self._uses[ref.name]

    def _changed(self, name: str, history: History) -> None:
        """Tell the computations of a name, of which more is known now."""
        for use in tuple(self._uses.get(name, ())):
            use._changed(history)

    async def _admit(self, history: History, ref: PolicyRef, source: PolicySource) -> None:
        """Raise where the version cannot follow those of `history`."""
        newest = history.newest
        if newest is None:
            if len(await self._store.names()) >= MAX_POLICIES:
                raise LimitReached(
                    Reason.LIMIT_REACHED,
                    f"{MAX_POLICIES} policies were published; no more are taken",
                    metadata={"limit": str(MAX_POLICIES)},
                )
        elif ref.version == newest.ref.version:
            raise _stale(
                f"version {ref.version} of policy {ref.name!r} is published with another source;"
                " publish other weights as a newer version",
                newest.ref,
            )
        elif ref.version < newest.ref.version:
            raise _stale(
                f"version {ref.version} of policy {ref.name!r} is older than the newest one,"
                f" {newest.ref.version}; versions only move forward",
                newest.ref,
            )
        for known in history.versions:
            if not source.holds_one_version and known.source.same_place(source):
                # An older version may have to be loaded again, and would be the newer one then.
                problem = (
                    f"is that of version {known.ref.version}; write each version into a directory"
                    " of its own"
                )
                raise InvalidInput((Violation(f"policy.{source.kind}", problem),))


def _find(history: History, ref: PolicyRef, *, even_replaced: bool = False) -> PublishedPolicy:
    """Return the version of a published name that `ref` asks for."""
    newest = history.newest
    assert newest is not None, "asked of a name that was published"
    found = newest if ref.version == 0 else history.find(ref.version)
    if found is None:
        if ref.version > newest.ref.version:
            problem = "was not published yet"
        elif ref.version > history.versions[0].ref.version:
            problem = "was never published"
        else:
            problem = f"is not kept; only the newest {KEPT_VERSIONS} are"
        raise NotFound(
            Reason.UNKNOWN_POLICY,
            f"version {ref.version} of policy {ref.name!r} {problem}"
            f" (newest: {newest.ref.version})",
            metadata={
                "policy": ref.name,
                "version": str(ref.version),
                "newest": str(newest.ref.version),
            },
        )
    if history.replaced(found) and not even_replaced:
        raise _stale(
            f"version {ref.version} of policy {ref.name!r} is served no more: a newer version took"
            f" its place at the same address (newest: {newest.ref.version})",
            newest.ref,
        )
    return found


def _stale(problem: str, newest: PolicyRef) -> Precondition:
    metadata = {"policy": newest.name, "newest": str(newest.version)}
    return Precondition(Reason.STALE_POLICY, problem, metadata=metadata)
