"""A simulator that remembers: what was simulated once is not simulated again.

Keys hold the fingerprint that the simulator gives before it is asked for futures; every future
tells the one under which it was simulated, and is stored only where both are the same. So a
simulator that is replaced by another meanwhile leaves nothing under a wrong key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from foresight_services.core.cache import CacheKey
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.cached_messages import CachedMessages
from foresight_services.core.cachekey import FutureKeys
from foresight_services.core.deadline import until
from foresight_services.core.errors import DeadlinePassed, Failure, Family, Reason, failure_from
from foresight_services.core.future import Future, FutureId, SimulationRequest, Termination
from foresight_services.core.landed import Landed, Made
from foresight_services.core.message_request import MessageRequest, SampledMessage
from foresight_services.core.ports import Clock, Simulator, Telemetry
from foresight_services.core.single_flight import SingleFlight
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Usage

REFUSALS: Final = {
    Family.INVALID,
    Family.NOT_FOUND,
    Family.PRECONDITION,
    Family.UNAUTHENTICATED,
}
"""Failures of a whole request that its caller must mend."""


def is_personal(failure: Failure) -> bool:
    """Tell whether others who want the same would not fail as well."""
    # Of what is refused as invalid, keys hold only a part, such as one of several candidates.
    return (
        failure.family in (Family.DEADLINE, Family.INVALID)
        or failure.reason is Reason.BUDGET_EXHAUSTED
    )


def is_personal_error(error: Exception) -> bool:
    """Tell the same of an error."""
    return is_personal(failure_from(error))


class CachedSimulator:
    """Decorates a `Simulator`; implements that port."""

    def __init__(
        self,
        simulator: Simulator,
        flights: SingleFlight[Future],
        *,
        clock: Clock,
        telemetry: Telemetry,
        messages: SingleFlight[SampledMessage] | None = None,
    ) -> None:
        """Put a cache before `simulator`; without `messages`, those it samples are not kept."""
        self._simulator = simulator
        self._messages: CachedMessages | None = None
        if messages is not None:
            self._messages = CachedMessages(simulator, messages, clock, is_personal=is_personal)
        self._flights = flights
        self._clock = clock
        self._telemetry = telemetry

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        """Return what the simulator says."""
        return await self._simulator.fingerprint(policy, deadline=deadline)

    def sample_messages(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield every sample once, remembered or drawn; see the port."""
        if self._messages is None:
            return self._simulator.sample_messages(request, deadline=deadline)
        return self._messages.sample(request, deadline=deadline)

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield every future once, remembered or simulated; see the port."""
        fingerprint = ""
        if request.cache is not CacheMode.BYPASS and _has_keys(request):
            async with until(deadline, self._clock):
                fingerprint = await self._simulator.fingerprint(request.policy, deadline=deadline)
        if fingerprint:
            one = _Simulated(self._simulator, self._flights, self._clock, request, fingerprint)
            futures = one.futures(deadline)
        else:
            futures = self._simulator.simulate(request, deadline=deadline)
        async with aclosing(futures):
            async for future in futures:
                self._telemetry.cache_answered("future", future.origin, 1)
                yield future


def _has_keys(request: SimulationRequest) -> bool:
    """Tell whether there are futures and all can be told apart; a simulator refuses the rest."""
    candidates, futures = range(len(request.candidates)), request.futures
    return 0 < len(set(futures)) == len(futures) and all(f.candidate in candidates for f in futures)


class _Simulated:
    """The futures of one request."""

    def __init__(
        self,
        simulator: Simulator,
        flights: SingleFlight[Future],
        clock: Clock,
        request: SimulationRequest,
        fingerprint: str,
    ) -> None:
        self._simulator = simulator
        self._flights = flights
        self._clock = clock
        self._request = request
        self._fingerprint = fingerprint
        keys = FutureKeys(request, fingerprint)
        self._keys = {which: keys.of(which) for which in request.futures}
        self._ids: dict[CacheKey, list[FutureId]] = {}
        for which, key in self._keys.items():
            # Candidates that say the same have the same futures.
            self._ids.setdefault(key, []).append(which)

    async def futures(self, deadline: float | None) -> AsyncGenerator[Future, None]:
        """Yield every future once."""
        if self._request.cache is CacheMode.REFRESH:
            async with aclosing(self._fresh(deadline)) as fresh:
                async for future in fresh:
                    yield future
            return
        async with until(deadline, self._clock):
            stored = [key for key in self._ids if key not in self._flights.aboard]
            found = await self._flights.find(stored)
        for key, future in found.items():
            for answer in self._answers(Landed(key, future, Origin.FOUND)):
                yield answer
        missing = [key for key in self._ids if key not in found]
        if not missing:
            return
        rest = (
            self._uncached(missing, deadline)
            if self._request.cache is CacheMode.READ_ONLY
            else self._shared(missing, deadline)
        )
        async with aclosing(rest):
            async for future in rest:
                yield future

    async def _shared(
        self, keys: list[CacheKey], deadline: float | None
    ) -> AsyncGenerator[Future, None]:
        """Yield the futures of `keys`, simulated once for all who want them now."""
        passenger = self._flights.board(keys, self._work)
        missing, failed = dict.fromkeys(keys), None
        try:
            while missing:
                try:
                    async with until(deadline, self._clock):
                        landed = await passenger.next()
                except DeadlinePassed as late:
                    for key in missing:
                        for which in self._ids[key]:
                            yield Future(which, late.failure, Usage(), self._fingerprint)
                    return
                del missing[landed.key]
                if landed.error is None:
                    for answer in self._answers(landed):
                        yield answer
                elif failure_from(landed.error).family in REFUSALS:
                    raise landed.error
                else:
                    failed = landed.error
        finally:
            await passenger.leave()
        if failed is not None:
            # At the end, so that what others simulate is not lost with it.
            raise failed

    async def _work(self, keys: tuple[CacheKey, ...]) -> AsyncGenerator[Made[Future], None]:
        """Simulate the futures of `keys`, for as long as anybody waits for them."""
        wanted = {self._ids[key][0]: key for key in keys}
        request = replace(self._request, futures=tuple(wanted))
        async with aclosing(self._simulator.simulate(request)) as futures:
            async for future in futures:
                outcome = future.outcome
                personal = isinstance(outcome, Failure) and is_personal(outcome)
                yield Made(wanted[future.id], future, self._complete(future), personal)

    async def _uncached(
        self, keys: list[CacheKey], deadline: float | None
    ) -> AsyncGenerator[Future, None]:
        """Yield the futures of `keys`, simulated for this request alone."""
        wanted = tuple(which for key in keys for which in self._ids[key])
        request = replace(self._request, futures=wanted)
        async with aclosing(self._simulator.simulate(request, deadline=deadline)) as futures:
            async for future in futures:
                yield future

    async def _fresh(self, deadline: float | None) -> AsyncGenerator[Future, None]:
        """Yield every future, simulated for this request, and store those that are complete."""
        async with aclosing(self._uncached(list(self._ids), deadline)) as futures:
            async for future in futures:
                if self._complete(future):
                    await self._flights.keep({self._keys[future.id]: future})
                yield future

    def _complete(self, future: Future) -> bool:
        """Tell whether `future` may stand for all others of its key."""
        return (
            not isinstance(future.outcome, Failure)
            # A longer context, of which no key tells, would let it go on.
            and future.outcome.termination is not Termination.CONTEXT_EXHAUSTED
            and future.fingerprint == self._fingerprint
        )

    def _answers(self, landed: Landed[Future]) -> list[Future]:
        """Return `landed` as every candidate's future that has its key."""
        future = landed.value
        assert future is not None, "landed without an error"
        answers = []
        for index, which in enumerate(self._ids[landed.key]):
            if index == 0 and landed.origin is Origin.COMPUTED:
                answers.append(replace(future, id=which, form=None))
                continue
            origin = Origin.SHARED if landed.origin is Origin.COMPUTED else landed.origin
            answers.append(
                replace(
                    future, id=which, usage=Usage(), origin=origin, cost=future.usage, form=None
                )
            )
        return answers
