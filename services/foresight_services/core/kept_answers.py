"""Whole answers, kept under all that determines them: the shortest way to answer a request again.

Behind it, futures and scores are remembered one by one (`core/cached_simulator.py`,
`core/cached_evaluator.py`); those also serve requests that are not the same as a whole. A whole
answer is kept only if every candidate in it has its complete reward, and every future of it may be
cached: all were simulated under one fingerprint, which is the one in the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from foresight_services.core.cache import CacheKey
from foresight_services.core.cache_use import CacheMode, CacheUse, Origin, Origins
from foresight_services.core.cachekey import Keyed, digest
from foresight_services.core.future import EvaluationSetup, MetricInfo, Termination
from foresight_services.core.idempotency import Played, asked_for, keyed
from foresight_services.core.ports import Clock, Evaluator, Simulator
from foresight_services.core.profiles import PROFILES
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import CandidateResult, FutureResult, GroupSummary
from foresight_services.core.usage import Usage

ANSWERS: Final = "answer"
"""Namespace of whole answers."""

TAKING: Final = {CacheMode.DEFAULT, CacheMode.READ_ONLY}
"""Modes in which a request is answered by what is kept."""

STANDING_SECONDS: Final = 1.0
"""How long it is believed what a simulator or an evaluator said of its own configuration. Within it
an answer may be the one that would have been given that long ago."""

MOST_STANDING: Final = 1024
"""Bound on what is remembered of what they said."""

_BESIDE: Final = {"policy", "budget", "job", "cache"}
"""Fields of a request that are no part of a key: what was found costs nothing and no job anything;
the policy is there as it was resolved."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A complete answer as it was given, without texts."""

    form: object
    """The answer as the codec reads it, each future of it found; nobody else's, so it may be
    changed."""
    results: int
    """How many candidates it has."""
    use: CacheUse
    """How many futures and scores were found."""
    seconds: float = 0.0
    """Wall time from the start of the request until it was found."""


class AnswerCodec(Protocol):
    """Whole answers as bytes."""

    def encode_whole(self, results: Sequence[CandidateResult], summary: GroupSummary) -> bytes:
        """Return the answer as it is kept; texts are left out."""
        ...

    def decode_whole(self, stored: bytes) -> KeptAnswer | None:
        """Return the answer; None where the bytes are none."""
        ...


def answer_key(
    request: RewardRequest, played: Played, fingerprint: str, identities: Sequence[str]
) -> CacheKey | None:
    """Return what the answer to `request` is kept under.

    Args:
        request: the request, its defaults filled in.
        played: its policy.
        fingerprint: what the simulator says of its configuration.
        identities: what every metric says of its own.

    Returns:
        None where one of them does not tell what determines its part of the answer.
    """
    if not fingerprint or not all(identities):
        return None
    asked = {name: value for name, value in asked_for(request).items() if name not in _BESIDE}
    parts: Mapping[str, Keyed] = {
        "asked": asked,
        "policy": keyed(played),
        "simulator": fingerprint,
        "metrics": list(identities),
        "profile": PROFILES[request.objective.profile].version,
    }
    return CacheKey(ANSWERS, digest("answer", parts))


def fingerprint_of(results: Sequence[CandidateResult]) -> str:
    """Return the fingerprint that all futures share; empty where an answer must not be kept."""
    told = set()
    for result in results:
        for future in result.futures:
            simulated = future.scored.simulated
            if simulated is None or simulated.termination is Termination.CONTEXT_EXHAUSTED:
                # A longer context, of which no key tells, would let it go on.
                return ""
            told.add(future.scored.fingerprint)
    return told.pop() if len(told) == 1 else ""


def as_found(
    results: Sequence[CandidateResult], summary: GroupSummary
) -> tuple[tuple[CandidateResult, ...], GroupSummary]:
    """Return an answer as it is given to those who did not pay for it."""
    found = tuple(_result_found(summary.standing(result)) for result in results)
    baseline = tuple(map(_result_found, summary.baseline))
    futures = [future.scored for result in (*found, *baseline) for future in result.futures]
    use = CacheUse(
        Origins(found=len(futures)), Origins(found=sum(len(one.scores) for one in futures))
    )
    return found, replace(summary, usage=Usage(), cache=use, leads=(), baseline=baseline)


def _result_found(result: CandidateResult) -> CandidateResult:
    return replace(result, usage=Usage(), futures=tuple(map(_found, result.futures)))


def _found(future: FutureResult) -> FutureResult:
    scored = future.scored
    found = replace(
        scored,
        usage=Usage(),
        cost=scored.cost or scored.usage,
        origin=Origin.FOUND,
        origins=(Origin.FOUND,) * len(scored.scores),
    )
    return replace(future, scored=found)


class Standing:
    """What simulator and evaluator say of their configuration, each asked once in a while."""

    def __init__(self, simulator: Simulator, evaluator: Evaluator, clock: Clock) -> None:
        self._simulator = simulator
        self._evaluator = evaluator
        self._clock = clock
        self._told: dict[object, tuple[float, tuple[str, ...]]] = {}

    async def key(
        self, request: RewardRequest, played: Played, deadline: float | None
    ) -> CacheKey | None:
        """Return what the answer to `request` is kept under, were it given now."""
        # Beside name and version, nothing of a policy is told to the simulator.
        fingerprint = self._known(played.ref)
        if fingerprint is None:
            told = await self._simulator.fingerprint(played.ref, deadline=deadline)
            fingerprint = self._learn(played.ref, (told,))
        if not fingerprint[0]:
            return None
        metrics = request.objective.metrics
        which = repr((metrics, request.horizon_messages, request.max_message_tokens))
        identities = self._known(which)
        if identities is None:
            async with self._evaluator.open(setup_of(request), deadline=deadline) as session:
                identities = self._learn(which, identities_of(session.metrics))
        return answer_key(request, played, fingerprint[0], identities)

    def _known(self, what: object) -> tuple[str, ...] | None:
        told = self._told.get(what)
        return None if told is None or told[0] < self._clock.now() else told[1]

    def _learn(self, what: object, told: tuple[str, ...]) -> tuple[str, ...]:
        if len(self._told) >= MOST_STANDING:
            self._told.clear()
        self._told[what] = (self._clock.now() + STANDING_SECONDS, told)
        return told


def identities_of(metrics: Sequence[MetricInfo]) -> tuple[str, ...]:
    """Return what each metric says of its configuration; empty for one that does not."""
    return tuple(info.identity and f"{info.version} {info.identity}" for info in metrics)


def setup_of(request: RewardRequest) -> EvaluationSetup:
    """Return what the evaluation of `request` is set up with."""
    return EvaluationSetup(
        task=request.task,
        prefix=request.prefix,
        candidates=request.candidates,
        metrics=request.objective.metrics,
        horizon_messages=request.horizon_messages,
        max_message_tokens=request.max_message_tokens,
        budget=request.budget,
        cache=request.cache,
    )
