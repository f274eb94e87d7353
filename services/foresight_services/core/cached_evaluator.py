"""An evaluator that remembers: what was scored once is not scored again.

Every metric's score of a conversation is kept on its own. A request with other weights asks for
nothing, one with a metric more for the scores of that metric alone. The session of the evaluator
behind is opened for every request: it tells what the metrics are, and refuses what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from foresight_services.core.cache import CacheKey
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.cached_simulator import is_personal
from foresight_services.core.cachekey import ScoreKeys
from foresight_services.core.deadline import until
from foresight_services.core.errors import DeadlinePassed, DomainError, Failure, error_from
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    Extracted,
    MetricInfo,
    MetricScore,
)
from foresight_services.core.held_session import HeldSession
from foresight_services.core.landed import Landed, Made
from foresight_services.core.ports import Clock, EvaluationSession, Evaluator, Telemetry
from foresight_services.core.single_flight import SingleFlight
from foresight_services.core.usage import NO_WORK, Usage, total


@dataclass(frozen=True, slots=True)
class KeptScore:
    """One metric's score of one conversation, as it is kept."""

    score: MetricScore
    """The score; its name is whatever the metric was called then."""
    artifacts: tuple[Extracted, ...]
    """What the metric may have scored. What no metric names stands with the first one scored."""
    usage: Usage
    """What it cost. What metrics cost that were scored together stands with the first of them."""


class CachedEvaluator:
    """Decorates an `Evaluator`; implements that port."""

    def __init__(
        self,
        evaluator: Evaluator,
        flights: SingleFlight[KeptScore],
        *,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._evaluator = evaluator
        self._flights = flights
        self._clock = clock
        self._telemetry = telemetry

    @asynccontextmanager
    async def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AsyncIterator[EvaluationSession]:
        """Open the evaluation behind, and return a session that asks it for what is not there."""
        if setup.cache is CacheMode.BYPASS:
            async with self._evaluator.open(setup, deadline=deadline) as session:
                yield session
            return
        held = HeldSession(self._evaluator.open(setup))
        try:
            async with until(deadline, self._clock):
                session = await held.session()
            yield CachedSession(
                setup, session, held, self._flights, self._clock, self._telemetry, deadline
            )
        finally:
            await held.leave()


class CachedSession:
    """Scores what is not there yet; implements the port `EvaluationSession`."""

    def __init__(
        self,
        setup: EvaluationSetup,
        session: EvaluationSession,
        held: HeldSession,
        flights: SingleFlight[KeptScore],
        clock: Clock,
        telemetry: Telemetry,
        deadline: float | None,
    ) -> None:
        self._setup = setup
        self._session = session
        self._held = held
        self._flights = flights
        self._clock = clock
        self._telemetry = telemetry
        self._deadline = deadline
        self._keys = ScoreKeys(setup, session.metrics)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The metrics as they are applied."""
        return self._session.metrics

    async def score(self, item: EvaluationItem) -> ConversationScores:
        """Return the scores of one conversation."""
        start = self._clock.now()
        one = _Conversation(self._setup, self._session, self._held, self._flights, item)
        try:
            async with until(self._deadline, self._clock):
                await one.fill(self._keys.of(item))
        except DeadlinePassed as late:
            one.end(late.failure)
        scores = one.result(self._clock.now() - start)
        for origin in dict.fromkeys(scores.origins):
            self._telemetry.cache_answered("score", origin, scores.origins.count(origin))
        return scores


class _Conversation:
    """The scores of one conversation, filled in as they are known."""

    def __init__(
        self,
        setup: EvaluationSetup,
        session: EvaluationSession,
        held: HeldSession,
        flights: SingleFlight[KeptScore],
        item: EvaluationItem,
    ) -> None:
        self._setup = setup
        self._session = session
        self._held = held
        self._flights = flights
        self._item = item
        self._applied = setup.applied(item)
        self._known: dict[int, tuple[KeptScore, Origin]] = {}

    async def fill(self, keys: Sequence[CacheKey | None]) -> None:
        """Find or compute every score."""
        by_key: dict[CacheKey, list[int]] = {}
        others = []
        for index in self._applied:
            key = keys[index]
            if key is None:
                others.append(index)
            else:
                # One metric under two labels has one score.
                by_key.setdefault(key, []).append(index)
        if self._setup.cache is CacheMode.REFRESH:
            await self._compute(self._applied, by_key)
            return
        stored = [key for key in by_key if key not in self._flights.aboard]
        for key, kept in (await self._flights.find(stored)).items():
            self._take(Landed(key, kept, Origin.FOUND), by_key.pop(key))
        if self._setup.cache is CacheMode.READ_ONLY:
            others += [index for indices in by_key.values() for index in indices]
            by_key.clear()
        if others and by_key:
            async with _unwrapped() as group:
                group.create_task(self._compute(tuple(sorted(others)), {}))
                group.create_task(self._share(by_key))
        elif others:
            await self._compute(tuple(sorted(others)), {})
        elif by_key:
            await self._share(by_key)

    def end(self, failure: Failure) -> None:
        """Fill in a failure for every score that is not known."""
        for index in self._applied:
            if index not in self._known:
                score = MetricScore(self._setup.metrics[index].title, failure)
                self._known[index] = (KeptScore(score, (), Usage()), Origin.COMPUTED)

    def result(self, seconds: float) -> ConversationScores:
        """Return all scores in order."""
        known = [self._known[index] for index in self._applied]
        artifacts: list[Extracted] = []
        for kept, _ in known:
            artifacts += [one for one in kept.artifacts if one not in artifacts]
        paid = [kept.usage for kept, origin in known if origin is Origin.COMPUTED]
        origins = tuple(origin for _, origin in known)
        cost = None
        if len(paid) < len(known):
            cost = total((kept.usage for kept, _ in known), seconds=seconds)
        return ConversationScores(
            self._item.id,
            tuple(
                _called(kept.score, self._setup.metrics[index].title)
                for index, (kept, _) in zip(self._applied, known, strict=True)
            ),
            total(paid, seconds=seconds),
            tuple(artifacts),
            origins,
            cost,
        )

    async def _share(self, by_key: dict[CacheKey, list[int]]) -> None:
        """Wait for scores that are computed once for all who want them now."""

        async def work(keys: tuple[CacheKey, ...]) -> AsyncGenerator[Made[KeptScore], None]:
            with self._held.needed():
                indices = tuple(by_key[key][0] for key in keys)
                for key, kept in zip(keys, await self._ask(indices), strict=True):
                    outcome = kept.score.outcome
                    failed = isinstance(outcome, Failure)
                    personal = isinstance(outcome, Failure) and is_personal(outcome)
                    yield Made(key, kept, not failed, personal)

        passenger = self._flights.board(by_key, work)
        try:
            while not passenger.done:
                landed = await passenger.next()
                if landed.error is not None:
                    raise _again(landed.error)
                self._take(landed, by_key[landed.key])
        finally:
            await passenger.leave()

    async def _compute(self, indices: tuple[int, ...], by_key: dict[CacheKey, list[int]]) -> None:
        """Compute scores for this request alone, and store those that have a key in `by_key`."""
        kept = dict(zip(indices, await self._ask(indices), strict=True))
        for index, one in kept.items():
            self._known[index] = (one, Origin.COMPUTED)
        entries = {key: kept[places[0]] for key, places in by_key.items()}
        await self._flights.keep(
            {key: one for key, one in entries.items() if not isinstance(one.score.outcome, Failure)}
        )

    async def _ask(self, indices: tuple[int, ...]) -> list[KeptScore]:
        """Have the metrics at `indices` score the conversation."""
        every = indices == tuple(range(len(self._setup.metrics)))
        item = replace(self._item, metrics=None if every else indices)
        scores = await self._session.score(item)
        wanted = [self._setup.metrics[index].artifact for index in indices]
        answers = []
        for place, (name, score) in enumerate(zip(wanted, scores.scores, strict=True)):
            artifacts = tuple(
                [
                    one
                    for one in scores.artifacts
                    if one.wanted.artifact == name
                    or (not place and one.wanted.artifact not in wanted)
                ]
            )
            answers.append(KeptScore(score, artifacts, NO_WORK if place else scores.usage))
        return answers

    def _take(self, landed: Landed[KeptScore], indices: list[int]) -> None:
        """Fill in one score under all of its labels; it is paid for once."""
        assert landed.value is not None, "landed without an error"
        for place, index in enumerate(indices):
            shared = place and landed.origin is Origin.COMPUTED
            origin = Origin.SHARED if shared else landed.origin
            kept = replace(landed.value, usage=NO_WORK) if place else landed.value
            self._known[index] = (kept, origin)


def _called(score: MetricScore, name: str) -> MetricScore:
    """Return `score` under the name that the metric has here."""
    return score if score.name == name else replace(score, name=name)


def _again(error: Exception) -> Exception:
    """Return `error` for one more of those who are told it."""
    return error_from(error.failure) if isinstance(error, DomainError) else error


@asynccontextmanager
async def _unwrapped() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a group of tasks that raises the first error by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
