"""The services that the reward service calls."""

from __future__ import annotations

from typing import Final

from foresight_services.config import Config, ServiceConfig
from foresight_services.rpc.channel import Peer, open_peer

CONNECTIONS_PER_WORKER: Final = 4
"""Connections to a peer of several workers, for each of them: of few, all could reach one."""


def open_peers(config: Config) -> tuple[Peer, Peer]:
    """Return the simulator and the evaluator of `config`."""
    services = config.services
    return _peer("simulator", services.simulator, config), _peer(
        "evaluator", services.evaluator, config
    )


def _peer(name: str, settings: ServiceConfig, config: Config) -> Peer:
    # One connection to one process; of several, the system chooses one for each connection.
    connections = 1 if settings.workers == 1 else CONNECTIONS_PER_WORKER * settings.workers
    return open_peer(name, settings.target or settings.listen, config, connections=connections)
