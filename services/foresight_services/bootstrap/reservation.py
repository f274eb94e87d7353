"""A port that several processes listen on, kept for them and from everybody else.

Whoever reserves it holds it, without listening, for as long as its workers come and go. Sockets
that share a port would also let in a second service of the same user, half of whose callers would
then reach the wrong one. So it is claimed first, under a name of this machine's network, and tried
without sharing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from foresight_services.core.errors import InvalidInput, Violation

_WILDCARDS: Final = ("0.0.0.0", "::")

Place = tuple[socket.AddressFamily, str]
"""A kind of address, and one of that kind."""


@contextmanager
def reserved(address: str) -> Iterator[str]:
    """Reserve `address`, `host:port`, and yield it with the port that it got.

    Raises:
        InvalidInput: where it cannot be had.
    """
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        try:
            places = _places(host.strip("[]"))
            number = int(port) or _free_port(places[0], stack)
            for place in places:
                _keep(place, number, stack)
        except OSError as error:
            problem = f"cannot listen on {address}: {error.strerror or error}"
            raise InvalidInput((Violation("listen", problem),)) from error
        yield f"{host}:{number}"


def _places(host: str) -> list[Place]:
    """Return every address that `host` means, as gRPC has it."""
    if host in _WILDCARDS and socket.has_dualstack_ipv6():
        return [(socket.AF_INET6, "::")]
    found = socket.getaddrinfo(
        host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    )
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found))


def _free_port(place: Place, stack: ExitStack) -> int:
    return int(_bound(place, 0, stack, socket.SO_REUSEPORT).getsockname()[1])


def _keep(place: Place, port: int, stack: ExitStack) -> None:
    family, host = place
    claim = stack.enter_context(socket.socket(socket.AF_UNIX))
    # A name without a file: the system forgets it with the process.
    claim.bind(f"\0foresight/{family.name}/{host}/{port}")
    with ExitStack() as trial:
        # Listening fails where anybody listens, and only then.
        _bound(place, port, trial).listen()
    _bound(place, port, stack, socket.SO_REUSEPORT)


def _bound(place: Place, port: int, stack: ExitStack, *options: int) -> socket.socket:
    family, host = place
    bound = stack.enter_context(socket.socket(family))
    for option in (socket.SO_REUSEADDR, *options):
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host not in _WILDCARDS))
    bound.bind((host, port))
    return bound
