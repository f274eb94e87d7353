"""Where the versions of published policies are kept, in this process or, by the port, elsewhere.

Invariant: what a replica knows of a name only grows. Histories that differ, because a store was
emptied or a replica could not ask it, are joined; the join does not depend on the order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from foresight_services.core.published import PublishedPolicy

KEPT_VERSIONS: Final = 64
"""Versions of a name that are known, the newest ones."""


@dataclass(frozen=True, slots=True)
class History:
    """The versions of one name that are known, the newest last."""

    versions: tuple[PublishedPolicy, ...] = ()
    """From the oldest to the newest, each once."""
    cancelled_below: int = 0
    """Computations on versions below this one, if they had begun, were ended by a publisher."""
    cancelled_at_ns: int = 0
    """When that was last done, in nanoseconds since 1970 (UTC); 0 for never."""

    @property
    def newest(self) -> PublishedPolicy | None:
        """The newest version; None where none was published."""
        return self.versions[-1] if self.versions else None

    def find(self, version: int) -> PublishedPolicy | None:
        """Return one version; None where it is not known."""
        return next((known for known in self.versions if known.ref.version == version), None)

    def replaced(self, policy: PublishedPolicy) -> bool:
        """Tell whether a newer version took the place of `policy` on its server."""
        return policy.source.holds_one_version and any(
            newer.ref.version > policy.ref.version and newer.source.same_place(policy.source)
            for newer in self.versions
        )

    def extended(self, policy: PublishedPolicy) -> History:
        """Return the history with a newer version, the oldest beyond the bound forgotten."""
        return dataclasses.replace(self, versions=(*self.versions, policy)[-KEPT_VERSIONS:])

    def cancelled(self, now_ns: int) -> History:
        """Return the history in which computations on versions before the newest end now."""
        newest = self.newest
        assert newest is not None, "a publisher ends what is older than its version"
        # Clocks differ; what is later must look later.
        at_ns = max(now_ns, self.cancelled_at_ns + 1)
        return History(self.versions, newest.ref.version, at_ns)

    def joined(self, other: History) -> History:
        """Return what the two tell together; of a version that they tell otherwise, the earlier."""
        if self == other:
            return self
        known: dict[int, PublishedPolicy] = {}
        for policy in (*self.versions, *other.versions):
            rival = known.setdefault(policy.ref.version, policy)
            known[policy.ref.version] = min(policy, rival, key=_registration)
        return History(
            tuple(known[version] for version in sorted(known))[-KEPT_VERSIONS:],
            max(self.cancelled_below, other.cancelled_below),
            max(self.cancelled_at_ns, other.cancelled_at_ns),
        )


Listener = Callable[[str, History], None]
"""Told a name and all that is known of it now; never raises and never waits."""


class PolicyStore(Protocol):
    """Keeps histories by name; shared by replicas that shall know the same.

    All but `replace` answer whatever befalls the store, from what this replica knew last.
    """

    async def names(self) -> tuple[str, ...]:
        """Return the names that were published, sorted."""
        ...

    async def read(self, name: str) -> History:
        """Return the history of `name`, empty where it was never published."""
        ...

    async def replace(self, name: str, old: History, new: History) -> bool:
        """Put `new` in the place of `old`; False, and no change, where another one is there.

        Raises:
            Upstream: SERVICE_UNAVAILABLE where the store cannot say that it has `new`.
        """
        ...

    def listen(self, tell: Listener) -> None:
        """Have `tell` called whenever this replica learns more of a name, whoever published it."""
        ...


class MemoryPolicyStore:
    """Histories of this process; implements the port `PolicyStore`."""

    def __init__(self) -> None:
        self._histories: dict[str, History] = {}
        self._listeners: list[Listener] = []

    async def names(self) -> tuple[str, ...]:
        """Return the names, sorted."""
        return tuple(sorted(self._histories))

    async def read(self, name: str) -> History:
        """Return the history of `name`."""
        return self._histories.get(name, History())

    async def replace(self, name: str, old: History, new: History) -> bool:
        """Put `new` in the place of `old`, if that is still there."""
        if self._histories.get(name, History()) != old:
            return False
        self._histories[name] = new
        if new != old:
            for tell in self._listeners:
                tell(name, new)
        return True

    def listen(self, tell: Listener) -> None:
        """Have `tell` called with every new history."""
        self._listeners.append(tell)


def _registration(policy: PublishedPolicy) -> tuple[int, str, str]:
    return policy.published_at_ns, policy.source.kind, policy.source.location
