"""The composition root: from a configuration to running services. Nothing else connects adapters.

`services` makes services and servers, `policies` the registry of published ones, `evaluator` what
scores, with the `tools` of its metrics and the `remotes` that score some of them; `models` dresses
models in their decorators, `backends` makes what they ask.
"""

from foresight_services.bootstrap.evaluator import build_evaluator
from foresight_services.bootstrap.models import Models
from foresight_services.bootstrap.policies import build_policies
from foresight_services.bootstrap.services import (
    MOST_RULED_FUTURES,
    MonotonicClock,
    RunningService,
    ServiceName,
    build_models,
    build_rewards,
    build_simulator,
    check,
    running,
)

__all__ = [
    "MOST_RULED_FUTURES",
    "Models",
    "MonotonicClock",
    "RunningService",
    "ServiceName",
    "build_evaluator",
    "build_models",
    "build_policies",
    "build_rewards",
    "build_simulator",
    "check",
    "running",
]
