"""Channels to the other services."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from foresight_services.config import Config, TlsConfig
from foresight_services.core.errors import InvalidInput, Violation

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Largest message that is sent or taken; every text in it has a smaller limit of its own."""

SIZE_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)

# A peer that was away, for as long as loading a model may take, is found soon after it is back.
_RECONNECT_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

# By default gRPC tries a call again only where its request fits into 256 KiB.
_RETRY_OPTIONS: Final = (("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),)

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
    target: str = ""
    """Where it is looked for, a gRPC target."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What the files of the section `services.tls` hold."""

    certificate: bytes
    """The certificate chain."""
    key: bytes = field(repr=False)
    """The private key."""
    ca: bytes
    """The certificates that peers are checked against."""


def read_tls(tls: TlsConfig) -> TlsFiles:
    """Read the files; InvalidInput names every one that cannot be read."""
    contents: dict[str, bytes] = {}
    unreadable: list[Violation] = []
    for name in ("certificate", "key", "ca"):
        try:
            contents[name] = Path(getattr(tls, f"{name}_path")).read_bytes()
        except OSError as error:
            problem = f"cannot be read: {error}"
            unreadable.append(Violation(f"services.tls.{name}_path", problem))
    if unreadable:
        raise InvalidInput(tuple(unreadable))
    return TlsFiles(**contents)


def open_peer(name: str, target: str, config: Config) -> Peer:
    """Return the service called `name` at `target`, with the configuration's TLS and token."""
    credentials = None
    if config.services.tls is not None:
        files = read_tls(config.services.tls)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=files.ca,
            private_key=files.key,
            certificate_chain=files.certificate,
        )
    token = "" if config.token is None else config.token.get_secret_value()
    return _open(name, target, credentials, token)


def open_stranger(name: str, target: str, authorities: bytes | None, token: str) -> Peer:
    """Return a service of someone else's, which is told no secret but `token`.

    Args:
        name: what it is called in errors.
        target: where it listens.
        authorities: PEM of the certificates that it is checked against; None for no TLS.
        token: the secret that it wants; empty for none.
    """
    credentials = None
    if authorities is not None:
        credentials = grpc.ssl_channel_credentials(root_certificates=authorities)
    return _open(name, target, credentials, token)


def _open(name: str, target: str, credentials: grpc.ChannelCredentials | None, token: str) -> Peer:
    options = (
        *SIZE_OPTIONS,
        *_RECONNECT_OPTIONS,
        *_RETRY_OPTIONS,
        ("grpc.service_config", _SERVICE_CONFIG),
    )
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    return Peer(name, channel, metadata, target)
