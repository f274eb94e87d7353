"""The history of one policy's name as bytes.

    envelope( layout  cancelled_below  cancelled_at_ns  versions )
              1 byte  8 bytes          8 bytes          ListPoliciesResponse, the oldest first

The envelope's checksum covers the name, so bytes that are cut, changed, foreign or another name's
are no history. Nor are those with anything that could not have been published, for whoever may
write to the store may write anything. A layout that this version does not know is not garbage:
another version of Foresight wrote it, and it is left as it is.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from itertools import pairwise
from typing import Final

from google.protobuf.message import DecodeError

from foresight.v1 import policy_service_pb2 as pb
from foresight_services.cache.envelope import Envelope, NotAValue
from foresight_services.core import published
from foresight_services.core.cache import CacheKey
from foresight_services.core.policy_store import KEPT_VERSIONS, History
from foresight_services.core.published import MAX_POLICY_NAME, NAME_PATTERN
from foresight_services.rpc.policy_codec import decode_published, encode_published

LAYOUT: Final = 1
"""Version of the layout within the envelope."""
NAMESPACE: Final = "policy"
"""What histories are called where the store tells what it does."""

_HEAD: Final = struct.Struct(">BQQ")
_TIMES: Final = range(2**63)


class OtherLayout(Exception):
    """A history that another version of Foresight wrote."""


class HistoryCodec:
    """Packs and unpacks histories."""

    def __init__(self, envelope: Envelope) -> None:
        """Compress and check by `envelope`."""
        self._envelope = envelope

    def pack(self, name: str, history: History) -> bytes:
        """Return `history` as it is stored; never empty."""
        head = _HEAD.pack(LAYOUT, history.cancelled_below, history.cancelled_at_ns)
        versions = pb.ListPoliciesResponse(
            policies=[encode_published(policy) for policy in history.versions]
        )
        return self._envelope.pack(key_of(name), head + versions.SerializeToString())

    def unpack(self, name: str, stored: bytes) -> History:
        """Return the history of `name`; NotAValue or OtherLayout if `stored` is none."""
        value = self._envelope.unpack(key_of(name), stored)
        if value[:1] != bytes((LAYOUT,)):
            raise OtherLayout
        try:
            _, cancelled_below, cancelled_at_ns = _HEAD.unpack(value[: _HEAD.size])
            policies = pb.ListPoliciesResponse.FromString(value[_HEAD.size :]).policies
        except (struct.error, DecodeError) as error:
            raise NotAValue("cut") from error
        # Another version of Foresight may keep more.
        versions = tuple(decode_published(policy) for policy in policies[-KEPT_VERSIONS:])
        history = History(versions, cancelled_below, cancelled_at_ns)
        if not _possible(name, history):
            raise NotAValue("what cannot have been published")
        return history


def key_of(name: str) -> CacheKey:
    """Return what stands for `name` in checksums and messages."""
    return CacheKey(NAMESPACE, sha256(name.encode()).digest())


def can_be_published(name: str) -> bool:
    """Tell whether a policy can have this name."""
    return len(name) <= MAX_POLICY_NAME and NAME_PATTERN.fullmatch(name) is not None


def _possible(name: str, history: History) -> bool:
    versions = history.versions
    return (
        history.cancelled_at_ns in _TIMES
        and all(policy.published_at_ns in _TIMES for policy in versions)
        and all(older.ref.version < newer.ref.version for older, newer in pairwise(versions))
        and all(policy.ref.name == name for policy in versions)
        and not any(
            violation
            for policy in versions
            for violation in published.violations("policy", policy.ref, policy.source)
        )
    )
