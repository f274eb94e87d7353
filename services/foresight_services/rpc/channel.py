"""Channels to the other services."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from foresight_services.config import Config

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Largest message that is sent or taken; every text in it has a smaller limit of its own."""

SIZE_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)

# A call that a restarting peer refused is tried again; one that has begun to answer never is.
_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another service, as a caller needs it."""

    name: str
    """What it is called in errors: `simulator` or `evaluator`."""
    channel: grpc.aio.Channel
    """The connection to it."""
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Sent with every call: the token, if there is one."""


def open_peer(name: str, target: str, config: Config) -> Peer:
    """Return the service called `name` at `target`, with the configuration's TLS and token."""
    options = (*SIZE_OPTIONS, ("grpc.service_config", _SERVICE_CONFIG))
    tls = config.services.tls
    if tls is None:
        channel = grpc.aio.insecure_channel(target, options)
    else:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=Path(tls.ca_path).read_bytes(),
            private_key=Path(tls.key_path).read_bytes(),
            certificate_chain=Path(tls.certificate_path).read_bytes(),
        )
        channel = grpc.aio.secure_channel(target, credentials, options)
    if config.token is None:
        return Peer(name, channel)
    return Peer(name, channel, (("authorization", f"Bearer {config.token.get_secret_value()}"),))
