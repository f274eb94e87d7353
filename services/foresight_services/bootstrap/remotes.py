"""Other evaluators: from the configuration to what it takes to call them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from foresight_services.config import Config
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.rpc.channel import Peer, open_stranger


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to call another evaluator."""

    name: str
    """Its name in the configuration."""
    target: str
    """Where it listens."""
    authorities: bytes | None
    """The certificates that it is checked against; None for no TLS."""
    token: str = field(repr=False)
    """The secret that it wants; empty for none."""

    def open(self) -> Peer:
        """Return it, connected when it is first called."""
        # Routing adds its name to what it tells.
        return open_stranger("evaluator", self.target, self.authorities, self.token)


def remote_access(config: Config) -> tuple[Access, ...]:
    """Return what it takes to call the other evaluators of `config`.

    Raises:
        InvalidInput: naming every file and variable that cannot be used.
    """
    found, violations = [], []
    for name, remote in config.evaluator.remotes.items():
        path = f"evaluator.remotes.{name}"
        token = os.environ.get(remote.token_env, "") if remote.token_env else ""
        if remote.token_env and not token:
            problem = f"the environment variable {remote.token_env} is not set"
            violations.append(Violation(f"{path}.token_env", problem))
        authorities = None
        try:
            if remote.tls_ca_path:
                authorities = Path(remote.tls_ca_path).read_bytes()
        except OSError as error:
            problem = f"{remote.tls_ca_path} cannot be read: {error.strerror or error}"
            violations.append(Violation(f"{path}.tls_ca_path", problem))
        found.append(Access(name, remote.target, authorities, token))
    if violations:
        raise InvalidInput(tuple(violations))
    return tuple(found)
