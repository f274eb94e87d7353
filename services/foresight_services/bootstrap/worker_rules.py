"""What several processes that share a port can do, and what they cannot."""

from __future__ import annotations

import sys

from foresight_services.config import Config, ServiceConfig
from foresight_services.core.errors import InvalidInput, Precondition, Reason, Violation
from foresight_services.core.policy_store import History, MemoryPolicyStore


def service_of(config: Config, what: str) -> ServiceConfig:
    """Return the section of the process that serves `what`."""
    name = "reward" if what == "all" else what
    section: ServiceConfig = getattr(config.services, name)
    return section


def check_workers(config: Config, what: str, field: str = "") -> None:
    """Check that `what` can be served by as many workers as `config` says.

    Args:
        config: the configuration.
        what: what is served: `all`, `reward`, `simulator` or `evaluator`.
        field: what the number of workers is called in errors. Default: its path in the file.

    Raises:
        InvalidInput: naming everything that stands against several workers.
    """
    service = service_of(config, what)
    if service.workers == 1:
        return
    section = f"services.{'reward' if what == 'all' else what}"
    field = field or f"{section}.workers"
    found: list[Violation] = []
    if sys.platform != "linux":
        found.append(Violation(field, "must be 1: only Linux spreads connections over processes"))
    if service.listen.startswith("unix:"):
        problem = "must be `host:port`: workers share a port, and no socket of a path"
        found.append(Violation(f"{section}.listen", problem))
    cache = config.cache
    if what in ("all", "reward") and not (cache.url or cache.path):
        problem = (
            f"must be 1 while every process has a cache of its own, for a request_id or a reward_id"
            f" would be known to one of {service.workers} workers only: share one by cache.url"
            " (Redis), or on this machine by cache.path"
        )
        found.append(Violation(field, problem))
    if config.recording is not None:
        problem = "must be absent with several workers: one process writes or replays it"
        found.append(Violation("recording", problem))
    if what != "reward":
        # Any model can be the policy of a request; the evaluator knows its judge alone.
        loaded = [config.roles.judge] if what == "evaluator" else list(config.models)
        for name in loaded:
            if config.models[name].backend == "vllm":
                problem = (
                    "an engine in this process cannot be shared by workers: serve the model with"
                    " `vllm serve` and use the backend openai, or have 1 worker"
                )
                found.append(Violation(f"models.{name}.backend", problem))
    if found:
        raise InvalidInput(tuple(found))


class WorkersPolicyStore(MemoryPolicyStore):
    """Takes no policy: a version would be known to one worker, and the others play an older one.

    Implements the port `PolicyStore`.
    """

    async def replace(self, name: str, old: History, new: History) -> bool:
        """Refuse it.

        Raises:
            Precondition: always.
        """
        raise Precondition(
            Reason.INVALID_REQUEST,
            "a policy cannot be published to a service of several workers: only one of them would"
            " know it; share a Redis (cache.url), or serve rewards with services.reward.workers 1",
        )
