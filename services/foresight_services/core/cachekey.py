"""What futures and scores are stored under: digests over everything that determines them.

A digest is SHA-256 over values that carry their type and their length, so that no two different
lists of values are spelled alike. Mappings are put in the order of their keys; numbers are told
apart by value and not by how they were written; what a request left out and what it wrote out are
the same by the time that keys are made, because its defaults are filled in.

Not part of a key is what changes nothing: the position of a candidate, labels, weights, budgets,
the name of the preset, and for futures also what their simulation is not told, the reference and
the metadata of the task.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from foresight_services.core.cache import CacheKey
from foresight_services.core.conversation import Conversation
from foresight_services.core.future import (
    EvaluationItem,
    EvaluationSetup,
    FutureId,
    MetricInfo,
    SimulationRequest,
)
from foresight_services.core.message_request import MessageRequest
from foresight_services.core.objective import MetricSpec
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.task import Task

SCHEMA: Final = 1
"""Version of what keys are made of and of what is stored under them; part of every key."""

FUTURES: Final = "future"
"""Namespace of simulated futures."""

MESSAGES: Final = "message"
"""Namespace of sampled messages."""

SCORES: Final = "score"
"""Namespace of scores."""

Keyed = None | bool | int | float | str | bytes | Sequence["Keyed"] | Mapping[str, "Keyed"]
"""What can be digested; JSON and bytes."""

_LENGTH: Final = struct.Struct(">cQ")
# Once: a union that is written where it is used is made anew each time.
_LISTS: Final = (list, tuple)
_NUMBERS: Final = (int, float)
_DOUBLE: Final = struct.Struct(">d")


def digest(name: str, fields: Mapping[str, Keyed]) -> bytes:
    """Return the 32 bytes that stand for `fields` of what is called `name`."""
    return sha256(_head(name) + canonical(fields)).digest()


def installed(distributions: Iterable[str]) -> dict[str, Keyed]:
    """Return the versions of what is installed in this process; None for what is not."""
    return {name: _version(name) for name in distributions}


@cache
def _version(distribution: str) -> str | None:
    # Once: it reads files, and metrics tell their identity for every request.
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def joined(name: str, *digests: bytes) -> bytes:
    """Return the 32 bytes that stand for several digests, in this order."""
    parts = [_head(name), *(_content(b"b", one) for one in digests)]
    return sha256(b"".join(parts)).digest()


@cache
def _head(name: str) -> bytes:
    return canonical([SCHEMA, name])


class _Spelled(bytes):
    """What `canonical` made of a value."""


def canonical(value: Keyed) -> bytes:
    """Return the one spelling of `value`: its type, its length, its content."""
    # The commonest first; this runs for every future.
    if isinstance(value, str):
        # Lone surrogates cannot travel, but may be asked for within one process.
        return _content(b"s", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, _LISTS):
        return _LENGTH.pack(b"l", len(value)) + b"".join([canonical(one) for one in value])
    if isinstance(value, bytes):
        return value if isinstance(value, _Spelled) else _content(b"b", value)
    if value is None:
        return _LENGTH.pack(b"n", 0)
    if isinstance(value, bool):
        return _LENGTH.pack(b"t" if value else b"f", 0)
    if isinstance(value, _NUMBERS):
        return _number(value)
    if isinstance(value, Mapping):
        parts = [canonical(key) + canonical(value[key]) for key in sorted(value)]
        return _LENGTH.pack(b"m", len(value)) + b"".join(parts)
    return canonical(list(value))


def _content(kind: bytes, content: bytes) -> bytes:
    return _LENGTH.pack(kind, len(content)) + content


def _number(value: int | float) -> bytes:
    """Spell a number by its value: 3 and 3.0 are one number, and so are 0 and -0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return _content(b"i", str(value).encode())
    # There are many values that are no number, and they all mean the same.
    return _content(b"d", b"nan" if math.isnan(value) else _DOUBLE.pack(value))


class FutureKeys:
    """The keys of one simulation's futures; what they share is digested once."""

    def __init__(self, request: SimulationRequest, fingerprint: str) -> None:
        """Prepare the keys of `request`.

        Args:
            request: the simulation, its defaults filled in and its policy's version resolved.
            fingerprint: what the simulator says of its own configuration.
        """
        self._request = request
        self._shared = digest(
            "futures",
            {
                "prefix": _messages(request.prefix),
                "task": _seen_by_simulator(request.task),
                "horizon_messages": request.horizon_messages,
                "max_message_tokens": request.max_message_tokens,
                "seed": request.seed,
                # Their order matters to draws; a name that is there twice is there once.
                "personas": list(dict.fromkeys(request.personas)),
                "policy": [request.policy.name, request.policy.version],
                "published": _published(request.published),
                "simulator": fingerprint,
            },
        )
        self._candidates: dict[int, bytes] = {}
        self._samples: dict[int, bytes] = {}

    def of(self, which: FutureId) -> CacheKey:
        """Return the key of one future."""
        request = self._request
        candidate = self._candidates.get(which.candidate)
        if candidate is None:
            candidate = digest("candidate", {"content": request.candidates[which.candidate]})
            self._candidates[which.candidate] = candidate
        sample = self._samples.get(which.sample)
        if sample is None:
            fields = {
                "sample": which.sample,
                "system_prompt": which.sample < request.system_prompt_samples,
                "proactive": which.sample < request.proactive_samples,
            }
            sample = self._samples[which.sample] = digest("sample", fields)
        return CacheKey(FUTURES, joined("future", self._shared, candidate, sample))


def message_keys(request: MessageRequest, fingerprint: str) -> dict[int, CacheKey]:
    """Return the key of every sample of `request`, by its index; see `FutureKeys`."""
    shared = digest(
        "messages",
        {
            "kind": request.kind.value,
            "prefix": _messages(request.prefix),
            "task": _seen_by_simulator(request.task),
            "max_message_tokens": request.max_message_tokens,
            "seed": request.seed,
            "personas": list(dict.fromkeys(request.personas)),
            "policy": [request.policy.name, request.policy.version],
            "published": _published(request.published),
            "system_prompt": request.system_prompt,
            "proactive": request.proactive,
            "simulator": fingerprint,
        },
    )
    return {
        index: CacheKey(MESSAGES, digest("message", {"shared": shared, "sample": index}))
        for index in request.indices
    }


class ScoreKeys:
    """The keys of one evaluation's scores; what they share is digested once."""

    def __init__(self, setup: EvaluationSetup, infos: Sequence[MetricInfo]) -> None:
        """Prepare the keys of `setup`, whose metrics are applied as `infos` says."""
        self._setup = setup
        task = setup.task
        self._shared = digest(
            "conversations",
            {
                "prefix": _messages(setup.prefix),
                "task": {
                    "description": task.description,
                    "guidance": task.guidance,
                    "reference": task.reference,
                    "world": task.world,
                    "metadata": dict(task.metadata),
                },
                # They bound what a metric takes for possible.
                "horizon_messages": setup.horizon_messages,
                "max_message_tokens": setup.max_message_tokens,
            },
        )
        self._candidates: dict[int, bytes] = {}
        digests = (_metric(spec, info) for spec, info in zip(setup.metrics, infos, strict=True))
        self._metrics = tuple(None if one is None else _content(b"b", one) for one in digests)

    def of(self, item: EvaluationItem) -> tuple[CacheKey | None, ...]:
        """Return the key of every metric's score; None where the metric does not tell itself."""
        candidate = self._candidates.get(item.id.candidate)
        if candidate is None:
            said = self._setup.candidates[item.id.candidate]
            candidate = digest("candidate", {"content": said})
            self._candidates[item.id.candidate] = candidate
        future = digest("said", {"goal": item.goal, "messages": _messages(item.messages)})
        transcript = joined("transcript", self._shared, candidate, future)
        # As `joined` does it; what its digests begin with is put together once.
        begun = _head("score") + _content(b"b", transcript)
        return tuple(
            [
                None if metric is None else CacheKey(SCORES, sha256(begun + metric).digest())
                for metric in self._metrics
            ]
        )


def _metric(spec: MetricSpec, info: MetricInfo) -> bytes | None:
    """Return the digest of a metric; its parameters are part of what it says it is."""
    if not info.identity:
        return None
    return digest(
        "metric",
        {
            "name": spec.name,
            "version": info.version,
            "artifact": spec.artifact,
            "identity": info.identity,
        },
    )


def _seen_by_simulator(task: Task) -> Keyed:
    return {
        "description": task.description,
        "guidance": task.guidance,
        "goal": task.goal,
        "world": task.world,
    }


def _messages(conversation: Conversation) -> Keyed:
    """Return the messages, each a pair of role and content, as they are spelled."""
    parts = [_LENGTH.pack(b"l", len(conversation))]
    for message in conversation:
        # Lone surrogates: see `canonical`.
        content = message.content.encode("utf-8", "surrogatepass")
        parts += (_speaker(message.role), _LENGTH.pack(b"s", len(content)), content)
    return _Spelled(b"".join(parts))


@lru_cache(maxsize=16)
def _speaker(role: str) -> bytes:
    """Return what a message of `role` begins with."""
    return _LENGTH.pack(b"l", 2) + canonical(role)


def _published(policy: PublishedPolicy | None) -> Keyed:
    if policy is None:
        return None
    # A run that starts again may publish other weights as the same version of the same place.
    return [policy.source.kind.value, policy.source.location, policy.published_at_ns]
