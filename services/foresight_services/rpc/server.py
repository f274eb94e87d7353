"""One gRPC server's life: listen, become ready, serve, drain, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from foresight_services.config import Config, TlsConfig
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.ports import Clock
from foresight_services.rpc.channel import SIZE_OPTIONS, Peer, read_tls
from foresight_services.rpc.interceptors import CallInterceptor, RequestObserver

_log: Final = logging.getLogger(__name__)

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING

# Of calls that arrive at once gRPC would end all but some thousand with a bare CANCELLED, which no
# caller tries again; a step of a large job begins with more. Futures have a line of their own.
_PENDING: Final = (
    ("grpc.server.max_pending_requests", 1 << 20),
    ("grpc.server.max_pending_requests_hard_limit", 1 << 20),
)

_HEALTH_CHECK_SECONDS: Final = 1.0
"""Time after which a peer that does not answer counts as not there yet."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A service that a server offers."""

    name: str
    """Full name, such as `foresight.v1.RewardService`."""
    add: Callable[[grpc.aio.Server], None]
    """Adds its servicer to a server."""


class Server:
    """A gRPC server with health, reflection and a graceful end."""

    def __init__(
        self,
        registrations: Iterable[Registration],
        *,
        config: Config,
        clock: Clock,
        observe: RequestObserver,
        shares_port: bool = False,
    ) -> None:
        """Prepare a server; `shares_port` lets other workers listen on the same port."""
        self._config = config
        token = None if config.token is None else config.token.get_secret_value()
        interceptor = CallInterceptor(clock=clock, observe=observe, token=token)
        self._server = grpc.aio.server(
            interceptors=[interceptor], options=_options(config, shares_port)
        )
        self._health = health.aio.HealthServicer()
        self._names = ["", *(registration.name for registration in registrations)]
        for registration in registrations:
            registration.add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*self._names[1:], health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )

    async def start(self, address: str) -> str:
        """Listen on `address`, not yet SERVING; return the address with the port it got."""
        await self._set(NOT_SERVING)
        tls = self._config.services.tls
        try:
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(tls))
        except RuntimeError as error:
            cause = "is the port taken?" if tls is None else "is the port taken, or TLS not in PEM?"
            problem = f"cannot listen on {address}; {cause}"
            raise InvalidInput((Violation("listen", problem),)) from error
        await self._server.start()
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    async def serve_when(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Become SERVING as soon as `ready` returns."""
        await ready()
        await self._set(SERVING)

    async def drain(self) -> None:
        """Say NOT_SERVING, give balancers time to notice and calls time to finish, and stop."""
        # For good: a server that becomes ready only now does not say SERVING any more.
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._config.services.drain_notice_seconds)
        await self._server.stop(self._config.services.drain_grace_seconds)

    async def stop(self) -> None:
        """Stop at once; calls in flight are cancelled."""
        await self._server.stop(None)

    async def _set(self, status: Any) -> None:
        for name in self._names:
            await self._health.set(name, status)


def _options(config: Config, shares_port: bool) -> list[tuple[str, int]]:
    # Unless told to share, a second process on the same port would take half of the calls.
    options = [*SIZE_OPTIONS, ("grpc.so_reuseport", int(shares_port)), *_PENDING]
    age = config.services.max_connection_age_seconds
    if age is not None:
        # gRPC has no limit for the calls that are in flight then.
        options.append(("grpc.max_connection_age_ms", round(age * 1000)))
    return options


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    files = read_tls(tls)
    return grpc.ssl_server_credentials(
        [(files.key, files.certificate)],
        root_certificates=files.ca,
        require_client_auth=tls.require_client_certificate,
    )


async def wait_until_serving(peers: Iterable[Peer], *, pause_seconds: float = 0.2) -> None:
    """Return when every one of `peers` says that it is SERVING; log which ones are waited for."""
    await asyncio.gather(*(_wait_for(peer, pause_seconds) for peer in peers))


async def _wait_for(peer: Peer, pause_seconds: float) -> None:
    stub: Any = health_pb2_grpc.HealthStub(peer.channel)
    waited = False
    while True:
        try:
            answer = await stub.Check(
                health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=_HEALTH_CHECK_SECONDS
            )
            if answer.status == SERVING:
                return
        except grpc.aio.AioRpcError as error:
            _log.debug("the %s is not reachable: %s", peer.name, error.code().name)
        if not waited:
            _log.warning("waiting for the %s at %s", peer.name, peer.target)
            waited = True
        await asyncio.sleep(pause_seconds)
