"""How clients reach a service: target, TLS, token, deadline and retries, checked once.

Both clients open their channel from one `Connection`, so they differ in nothing but await. A
`Connection` is plain data and can be pickled; files of TLS are read when a channel is opened.

Calls are spread over all addresses of a target: those of a DNS name, or a list. A stream stays on
the replica that it began on.

Invariants: a token travels over TLS or stays on this machine. Only UNAVAILABLE is tried again, by
gRPC itself, never after an answer began to arrive and never beyond the caller's deadline.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

__all__ = ["DEFAULT_MAX_ATTEMPTS", "DEFAULT_TIMEOUT", "Connection", "Tls"]

DEFAULT_TIMEOUT: Final = 600.0
"""Seconds that a call may take where the caller names no other time."""
DEFAULT_MAX_ATTEMPTS: Final = 4
"""Attempts at a call, the first one included."""

_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_LOCAL_SCHEMES: Final = ("unix", "unix-abstract")

_OPTIONS: Final[Mapping[str, int]] = {
    "grpc.max_receive_message_length": _MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": _MAX_MESSAGE_BYTES,
    # A call whose messages do not fit this buffer (256 KiB by default) would not be tried again.
    "grpc.per_rpc_retry_buffer_size": _MAX_MESSAGE_BYTES,
    # Pings that notice a dead connection during a long silent call. Servers that were not told
    # otherwise drop clients that ping more often than every five minutes.
    "grpc.keepalive_time_ms": 310_000,
    "grpc.keepalive_timeout_ms": 20_000,
    # Attempts follow one another faster than gRPC's one second between connections.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5_000,
    # A connection leads to one of several processes that share a port: clients of one process must
    # not share theirs.
    "grpc.use_local_subchannel_pool": 1,
    # What a DNS record says about retries does not override what the caller said.
    "grpc.service_config_disable_resolution": 1,
}


@dataclass(frozen=True, slots=True)
class Tls:
    """Files and names of a TLS connection. `Tls()` trusts the roots that gRPC ships with."""

    root_certificates: str | Path | None = None
    """PEM file of the certificate authorities to trust. Default: the roots gRPC ships with."""
    certificate: str | Path | None = None
    """PEM file of the client's own certificate chain, for mutual TLS; needs `private_key`."""
    private_key: str | Path | None = None
    """PEM file of the client's private key; needs `certificate`."""
    server_name: str | None = None
    """Name to expect in the server's certificate. Default: the target's host."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together: give both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises OSError where one cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.root_certificates),
            private_key=_read(self.private_key),
            certificate_chain=_read(self.certificate),
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything about how to reach a service."""

    target: str
    """gRPC target, such as `localhost:50051`, `dns:///foresight:50051` or `unix:/run/f.sock`. A
    list such as `10.0.0.1:50051,10.0.0.2:50051` becomes what gRPC reads."""
    tls: Tls | None
    """TLS settings; `None` is plaintext."""
    token: str | None = field(repr=False)
    """Bearer token of every call."""
    timeout: float
    """Seconds that a call may take by default."""
    max_attempts: int
    """Attempts at a call, 1 to 5."""

    def __post_init__(self) -> None:
        _check_target(self.target)
        _check_timeout(self.timeout)
        # gRPC silently takes any greater number for 5.
        if not 1 <= self.max_attempts <= 5:
            raise ValueError(f"max_attempts must be from 1 to 5, got {self.max_attempts!r}")
        if self.token is not None:
            # Never quote the token: tracebacks end up in logs.
            if not re.fullmatch("[!-~]+", self.token):
                raise ValueError("token must be visible ASCII characters without spaces")
            if self.tls is None and not is_local(self.target):
                raise ValueError(
                    f"a token would travel to {self.target} in plaintext: give tls=Tls(...)"
                )
        target = grpc_target(self.target)
        if target != self.target and self.tls is not None and self.tls.server_name is None:
            raise ValueError(
                f"target {self.target!r} is a list: say which name its certificates bear, "
                "Tls(server_name=...)"
            )
        # The one change of a frozen value, before anybody has seen it.
        object.__setattr__(self, "target", target)

    def describe(self) -> str:
        """Return the arguments of a client for its repr, without secrets."""
        token = "None" if self.token is None else "<hidden>"
        return (
            f"{self.target!r}, tls={self.tls!r}, token={token}, timeout={self.timeout}, "
            f"max_attempts={self.max_attempts}"
        )

    def deadline(self, timeout: float | None) -> float:
        """Return the seconds that a call may take: `timeout`, else the default."""
        if timeout is None:
            return self.timeout
        _check_timeout(timeout)
        return timeout

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call; over TLS the channel's credentials add the token."""
        if self.token is None or self.tls is not None:
            return ()
        return (("authorization", f"Bearer {self.token}"),)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return the credentials to open a channel with, `None` for plaintext."""
        if self.tls is None:
            return None
        tls = self.tls.credentials()
        if self.token is None:
            return tls
        return grpc.composite_channel_credentials(
            tls, grpc.access_token_call_credentials(self.token)
        )

    def options(self) -> list[tuple[str, str | int]]:
        """Return the options to open a channel with."""
        options: list[tuple[str, str | int]] = list(_OPTIONS.items())
        options.append(("grpc.service_config", json.dumps(self._service_config())))
        if is_local(self.target):
            # A proxy would take the call, and a plaintext token in it, off this machine.
            options.append(("grpc.enable_http_proxy", 0))
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
            options.append(("grpc.default_authority", self.tls.server_name))
        return options

    def _service_config(self) -> dict[str, object]:
        # Calls are spread over all addresses of the target, so that replicas share the load.
        config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
        if self.max_attempts > 1:
            retry = {
                "maxAttempts": self.max_attempts,
                "initialBackoff": "0.2s",  # gRPC adds the jitter
                "maxBackoff": "5s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            }
            # Repeating a call of either changes nothing: to publish a version again is no change.
            services = [
                {"service": f"foresight.v1.{name}"} for name in ("RewardService", "PolicyService")
            ]
            config["methodConfig"] = [{"name": services, "retryPolicy": retry}]
        return config


def is_local(target: str) -> bool:
    """Tell whether every address of `target` is on this machine by its very name."""
    scheme, separator, rest = target.partition(":")
    if separator and scheme in _LOCAL_SCHEMES:
        return True
    if scheme in ("ipv4", "ipv6"):
        return all(_is_loopback(address) for address in rest.split(","))
    if scheme == "dns":
        # dns:host or dns:///host; a name server that the target names could answer anything.
        if rest.startswith("//") and not rest.startswith("///"):
            return False
        return _is_loopback(rest.removeprefix("///"))
    return all(_is_loopback(address) for address in target.split(","))


def grpc_target(target: str) -> str:
    """Return `target` as gRPC reads it: a list of addresses gets their scheme.

    Raises:
        ValueError: in a list, an address that is no IP address with a port, or a mixture of both
            kinds of IP addresses.
    """
    if "," not in target or re.match(r"[a-z][a-z0-9+.-]*:(?![0-9]+,)", target):
        return target
    schemes, addresses = set(), []
    for item in target.split(","):
        address = item.strip()
        split = re.fullmatch(r"\[([^\]]*)\]:([0-9]{1,5})|([^:\[\]]+):([0-9]{1,5})", address)
        host, port = ((split[1] or split[3]), (split[2] or split[4])) if split else ("", "")
        host = "127.0.0.1" if host == "localhost" else host
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(
                f"target {target!r} is a list, and {address!r} in it is no IP address with a port; "
                "replicas with one name are dns:///name:port"
            ) from None
        schemes.add(f"ipv{ip.version}")
        addresses.append(f"[{host}]:{port}" if ip.version == 6 else f"{host}:{port}")
    if len(schemes) > 1:
        raise ValueError(f"target {target!r} mixes IPv4 and IPv6 addresses")
    return f"{schemes.pop()}:{','.join(addresses)}"


def _is_loopback(address: str) -> bool:
    # As gRPC reads it: two colons without brackets are an IPv6 address without a port.
    split = re.fullmatch(r"\[(.*)\](?::\d+)?|([^:]*):\d+", address)
    host = (split[1] or split[2]) if split else address
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_target(target: str) -> None:
    if not target:
        raise ValueError("target must name a server, such as 'localhost:50051'")
    if re.match("https?://", target):
        raise ValueError(
            f"target {target!r} is a URL; a gRPC target is host:port, and TLS is tls=Tls(...)"
        )


def _check_timeout(timeout: float) -> None:
    if isinstance(timeout, bool) or not (math.isfinite(timeout) and timeout > 0):
        raise ValueError(f"timeout must be a positive, finite number of seconds, got {timeout!r}")


def _read(path: str | Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
