"""The policy of one request, held so that all of it is played by one version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from foresight_services.core.deadline import until
from foresight_services.core.errors import NotFound, Reason
from foresight_services.core.policies import PublishedModels
from foresight_services.core.ports import Clock, Policies, ResolvedPolicy
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.task import PolicyRef, Task


class Asked(Protocol):
    """A request that a policy plays in."""

    @property
    def task(self) -> Task:
        """What the conversation is about."""
        ...

    @property
    def policy(self) -> PolicyRef:
        """The policy."""
        ...

    @property
    def published(self) -> PublishedPolicy | None:
        """Where its version is served; None for a policy of the simulator's configuration."""
        ...


@asynccontextmanager
async def held_policy(
    asked: Asked,
    policies: Policies,
    published: PublishedModels | None,
    *,
    clock: Clock,
    deadline: float | None,
) -> AsyncIterator[ResolvedPolicy]:
    """Hold the policy that is asked for.

    Raises:
        NotFound: UNKNOWN_POLICY.
    """
    version = asked.published
    if version is None:
        yield await policies.resolve(asked.policy, asked.task)
        return
    if published is None:
        raise NotFound(
            Reason.UNKNOWN_POLICY,
            "this simulator plays no published policies",
            metadata={"policy": version.ref.name, "version": str(version.ref.version)},
        )
    async with AsyncExitStack() as stack:
        async with until(deadline, clock):
            model = await stack.enter_async_context(published.open(version))
        yield ResolvedPolicy(version.ref, model)
