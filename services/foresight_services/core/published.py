"""Published policies: versions of the weights under training, and where each is served.

A version names weights that never change. So a directory of LoRA weights belongs to one version
alone, and a server whose weights are replaced in place (an endpoint, TRL's server) holds the newest
version that was published at its address: the versions before it are gone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from foresight_services.core.errors import Violation
from foresight_services.core.task import PolicyRef

MAX_POLICY_NAME: Final = 64
MAX_URL: Final = 2048
MAX_PATH: Final = 4096
MAX_VERSION: Final = 2**63 - 1
"""Greatest version, so that every language and store has a number for it."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of published policies: servers take them into the names of adapters."""


class SourceKind(StrEnum):
    """Where weights are served; each is a field of the contract's `Policy`."""

    ENDPOINT = "endpoint"
    LORA_ADAPTER_PATH = "lora_adapter_path"
    TRL_SERVER = "trl_server"


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where the weights of one version are served."""

    kind: SourceKind
    """What kind of place it is."""
    location: str
    """Base URL of the server, or absolute path of the adapter."""

    @property
    def holds_one_version(self) -> bool:
        """Whether publishing a newer version here replaces this one's weights."""
        return self.kind is not SourceKind.LORA_ADAPTER_PATH

    def same_place(self, other: PolicySource) -> bool:
        """Tell whether both name one place, however its address is written."""
        return self.kind is other.kind and _canonical(self) == _canonical(other)


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """One version of a policy, as it was registered."""

    ref: PolicyRef
    """Name, and version from 1."""
    source: PolicySource
    """Where it is served."""
    published_at_ns: int
    """When it was registered, in nanoseconds since 1970 (UTC)."""


def violations(path: str, ref: PolicyRef, source: PolicySource | None) -> Iterator[Violation]:
    """Yield what is wrong with the policy at `path`, such as `policy`."""
    if len(ref.name) > MAX_POLICY_NAME:
        yield Violation(
            f"{path}.ref.name", f"has {len(ref.name)} characters; at most {MAX_POLICY_NAME}"
        )
    elif not NAME_PATTERN.fullmatch(ref.name):
        yield Violation(
            f"{path}.ref.name",
            f"is {ref.name!r}; must be letters, digits, '.', '_' and '-', the first a letter or"
            " digit",
        )
    if not 1 <= ref.version <= MAX_VERSION:
        yield Violation(f"{path}.ref.version", f"is {ref.version}; must be 1 to {MAX_VERSION}")
    if source is None:
        kinds = ", ".join(SourceKind)
        yield Violation(path, f"says not where the weights are served; set one of {kinds}")
    elif source.kind is SourceKind.LORA_ADAPTER_PATH:
        yield from _path(f"{path}.{source.kind}", source.location)
    else:
        yield from _url(f"{path}.{source.kind}", source.location)


def _path(field: str, location: str) -> Iterator[Violation]:
    if len(location) > MAX_PATH:
        yield Violation(field, f"has {len(location)} characters; at most {MAX_PATH}")
    elif not location.startswith("/"):
        yield Violation(field, "must be an absolute path that the model's server can read")
    elif ".." in location.split("/") or not location.isprintable():
        yield Violation(field, "must have neither '..' nor control characters")


def _url(field: str, location: str) -> Iterator[Violation]:
    if len(location) > MAX_URL:
        yield Violation(field, f"has {len(location)} characters; at most {MAX_URL}")
        return
    try:
        parts = urlsplit(location)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port that is no number
        complete = False
    if not complete or not location.isascii() or not location.isprintable() or " " in location:
        yield Violation(field, "must be a base URL, such as http://127.0.0.1:8000/v1")
    elif parts.username is not None or parts.password is not None:
        # It would be listed to every caller; the configuration names keys by variable.
        yield Violation(field, "must not carry a user or a password")
    elif parts.query or parts.fragment or location.endswith(("?", "#")):
        yield Violation(field, "must have neither a query nor a fragment")


def _canonical(source: PolicySource) -> str:
    if source.kind is SourceKind.LORA_ADAPTER_PATH:
        return "/" + posixpath.normpath(source.location).lstrip("/")
    parts = urlsplit(source.location)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
