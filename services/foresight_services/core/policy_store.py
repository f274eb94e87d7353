"""Where the versions of published policies are kept, in this process or, by the port, elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from foresight_services.core.published import PublishedPolicy

KEPT_VERSIONS: Final = 64
"""Versions of a name that are known, the newest ones."""


@dataclass(frozen=True, slots=True)
class History:
    """The versions of one name that are known, the newest last."""

    versions: tuple[PublishedPolicy, ...] = ()

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
        return History((*self.versions, policy)[-KEPT_VERSIONS:])


class PolicyStore(Protocol):
    """Keeps histories by name; shared by replicas that shall know the same."""

    async def names(self) -> tuple[str, ...]:
        """Return the names that were published, sorted."""
        ...

    async def read(self, name: str) -> History:
        """Return the history of `name`, empty where it was never published."""
        ...

    async def replace(self, name: str, old: History, new: History) -> bool:
        """Put `new` in the place of `old`; False, and no change, where another one is there."""
        ...


class MemoryPolicyStore:
    """Histories of this process; implements the port `PolicyStore`."""

    def __init__(self) -> None:
        self._histories: dict[str, History] = {}

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
        return True
