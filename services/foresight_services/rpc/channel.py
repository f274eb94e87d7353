"""Channels to the other services.

Calls are spread over all addresses of a target: those of a DNS name, or a list. A stream stays on
the replica that it began on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from foresight._channel import grpc_target
from foresight_services.config import Config, TlsConfig
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.rpc.spread_channel import OWN_CONNECTION, SpreadChannel

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Largest message that is sent or taken; every text in it has a smaller limit of its own."""

SIZE_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)

# Pings that notice a replica that is gone without a word, while a call waits for it. Servers that
# were not told otherwise drop callers that ping more often than every five minutes.
_KEEPALIVE_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
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


def open_peer(name: str, target: str, config: Config, *, connections: int = 1) -> Peer:
    """Return the service called `name` at `target`, with the configuration's TLS and token.

    Calls are made in turn on so many `connections`.

    Raises:
        InvalidInput: where the target or a file of TLS cannot be used.
    """
    credentials = None
    if config.services.tls is not None:
        files = read_tls(config.services.tls)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=files.ca,
            private_key=files.key,
            certificate_chain=files.certificate,
        )
    token = "" if config.token is None else config.token.get_secret_value()
    field = f"services.{name}.target"
    return _open(name, _read_target(field, target, credentials), credentials, token, connections)


def open_stranger(name: str, target: str, authorities: bytes | None, token: str) -> Peer:
    """Return a service of someone else's, which is told no secret but `token`.

    Args:
        name: what it is called in errors.
        target: where it listens.
        authorities: PEM of the certificates that it is checked against; None for no TLS.
        token: the secret that it wants; empty for none.

    Raises:
        InvalidInput: where the target cannot be used.
    """
    credentials = None
    if authorities is not None:
        credentials = grpc.ssl_channel_credentials(root_certificates=authorities)
    target = _read_target("evaluator.remotes", target, credentials)
    return _open(name, target, credentials, token)


def _read_target(field: str, target: str, credentials: grpc.ChannelCredentials | None) -> str:
    """Return `target` as gRPC reads it."""
    try:
        found = grpc_target(target)
    except ValueError as error:
        raise InvalidInput((Violation(field, str(error)),)) from error
    if found != target and credentials is not None:
        problem = (
            f"{target!r} is a list, and its addresses have no name that TLS could check; use a name"
            " that has them all, dns:///name:port"
        )
        raise InvalidInput((Violation(field, problem),))
    return found


def _open(
    name: str,
    target: str,
    credentials: grpc.ChannelCredentials | None,
    token: str,
    connections: int = 1,
) -> Peer:
    options = (
        *SIZE_OPTIONS,
        *_KEEPALIVE_OPTIONS,
        *_RECONNECT_OPTIONS,
        *_RETRY_OPTIONS,
        ("grpc.service_config", _SERVICE_CONFIG),
    )
    if connections == 1:
        channel = _channel(target, credentials, options)
    else:
        own = (*options, OWN_CONNECTION)
        channel = SpreadChannel([_channel(target, credentials, own) for _ in range(connections)])
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    return Peer(name, channel, metadata, target)


def _channel(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: tuple[tuple[str, int | str], ...],
) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)
