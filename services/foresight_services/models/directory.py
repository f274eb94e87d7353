"""The policies of the configuration, by name."""

from __future__ import annotations

from collections.abc import Mapping

from foresight_services.core.errors import NotFound, Reason
from foresight_services.core.ports import ChatModel, ResolvedPolicy
from foresight_services.core.suggest import one_of
from foresight_services.core.task import PolicyRef, Task
from foresight_services.models.builtin import BuiltinModel


class ConfiguredPolicies:
    """Policies whose weights do not change; implements the port `Policies`."""

    def __init__(self, policies: Mapping[str, tuple[BuiltinModel | None, ChatModel]]) -> None:
        """Know `policies` by name: the rules, where rules are what plays, and the whole model."""
        self._policies = policies

    async def resolve(self, ref: PolicyRef, task: Task) -> ResolvedPolicy:
        """Return the configured policy, which has the one version 0."""
        if ref.name not in self._policies:
            raise NotFound(
                Reason.UNKNOWN_POLICY,
                f"policy: {one_of(ref.name, self._policies)}",
                metadata={"policy": ref.name[:64], "known": ", ".join(sorted(self._policies))},
            )
        if ref.version != 0:
            raise NotFound(
                Reason.UNKNOWN_POLICY,
                f"policy {ref.name!r} has no version {ref.version}: no version was published",
                metadata={"policy": ref.name, "version": str(ref.version)},
            )
        rules, model = self._policies[ref.name]
        if rules is not None:
            rules.check(ref.name, task)
        return ResolvedPolicy(ref, model)
