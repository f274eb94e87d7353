"""Sampled messages that are remembered: what was drawn once is not drawn again.

So a request that draws responses of the policy, and is made again, draws the same ones, also where
the model's server does not keep to seeds. Rules and modes are those of futures
(`core/cached_simulator.py`); a message that failed is not remembered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from foresight_services.core.cache import CacheKey
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.cachekey import message_keys
from foresight_services.core.deadline import until
from foresight_services.core.errors import DeadlinePassed, Failure
from foresight_services.core.landed import Made
from foresight_services.core.message_request import MessageRequest, SampledMessage, violations
from foresight_services.core.ports import Clock, Simulator
from foresight_services.core.single_flight import SingleFlight
from foresight_services.core.usage import Usage


class CachedMessages:
    """Samples messages of a simulator, or remembers them."""

    def __init__(
        self,
        simulator: Simulator,
        flights: SingleFlight[SampledMessage],
        clock: Clock,
        *,
        is_personal: Callable[[Failure], bool],
    ) -> None:
        """Remember what `simulator` samples.

        Args:
            simulator: who samples.
            flights: what was sampled, and what is being sampled.
            clock: the clock of deadlines.
            is_personal: tells of a failure whether others who want the same would not fail as well.
        """
        self._simulator = simulator
        self._flights = flights
        self._clock = clock
        self._is_personal = is_personal

    async def sample(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield every sample once, remembered or drawn; see the port `Simulator`."""
        fingerprint = ""
        # What is wrong with a request, the simulator says.
        if request.cache is not CacheMode.BYPASS and not any(violations(request)):
            async with until(deadline, self._clock):
                fingerprint = await self._simulator.fingerprint(request.policy, deadline=deadline)
        samples = (
            self._remembered(request, fingerprint, deadline)
            if fingerprint
            else self._simulator.sample_messages(request, deadline=deadline)
        )
        async with aclosing(samples):
            async for sample in samples:
                yield sample

    async def _remembered(
        self, request: MessageRequest, fingerprint: str, deadline: float | None
    ) -> AsyncGenerator[SampledMessage, None]:
        keys = message_keys(request, fingerprint)
        refresh = request.cache is CacheMode.REFRESH
        found: dict[CacheKey, SampledMessage] = {}
        if not refresh:
            async with until(deadline, self._clock):
                stored = [key for key in keys.values() if key not in self._flights.aboard]
                found = await self._flights.find(stored)
        missing: dict[int, CacheKey] = {}
        for index, key in keys.items():
            if key in found:
                yield _told(found[key], index, Origin.FOUND)
            else:
                missing[index] = key
        if not missing:
            return
        alone = refresh or request.cache is CacheMode.READ_ONLY
        rest = (
            self._alone(request, missing, fingerprint, deadline)
            if alone
            else self._shared(request, missing, fingerprint, deadline)
        )
        async with aclosing(rest):
            async for sample in rest:
                yield sample

    async def _alone(
        self,
        request: MessageRequest,
        missing: dict[int, CacheKey],
        fingerprint: str,
        deadline: float | None,
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield the samples that are missing, drawn for this request."""
        asked = replace(request, count=None, chosen=tuple(missing))
        async with aclosing(self._simulator.sample_messages(asked, deadline=deadline)) as samples:
            async for sample in samples:
                if request.cache is CacheMode.REFRESH and _complete(sample, fingerprint):
                    await self._flights.keep({missing[sample.index]: sample})
                yield sample

    async def _shared(
        self,
        request: MessageRequest,
        missing: dict[int, CacheKey],
        fingerprint: str,
        deadline: float | None,
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield the samples that are missing, drawn once for all who want them now."""
        indices = {key: index for index, key in missing.items()}

        async def work(keys: tuple[CacheKey, ...]) -> AsyncGenerator[Made[SampledMessage], None]:
            asked = replace(request, count=None, chosen=tuple(indices[key] for key in keys))
            async with aclosing(self._simulator.sample_messages(asked)) as samples:
                async for sample in samples:
                    said = sample.outcome
                    personal = isinstance(said, Failure) and self._is_personal(said)
                    kept = _complete(sample, fingerprint)
                    yield Made(missing[sample.index], sample, kept, personal)

        passenger = self._flights.board(indices, work)
        waiting, failed = dict(indices), None
        try:
            while waiting:
                try:
                    async with until(deadline, self._clock):
                        landed = await passenger.next()
                except DeadlinePassed as late:
                    for index in waiting.values():
                        yield SampledMessage(index, late.failure, Usage(), fingerprint=fingerprint)
                    return
                index = waiting.pop(landed.key)
                if landed.value is not None:
                    yield _told(landed.value, index, landed.origin)
                else:
                    failed = landed.error
        finally:
            await passenger.leave()
        if failed is not None:
            # At the end, so that what others draw is not lost with it.
            raise failed


def _told(sample: SampledMessage, index: int, origin: Origin) -> SampledMessage:
    """Return `sample` for who asked for it as `index`; what is not drawn for them is free."""
    if origin is Origin.COMPUTED:
        return replace(sample, index=index)
    return replace(sample, index=index, origin=origin, usage=Usage(), charged=None)


def _complete(sample: SampledMessage, fingerprint: str) -> bool:
    """Tell whether `sample` may stand for all others of its key."""
    return not isinstance(sample.outcome, Failure) and sample.fingerprint == fingerprint
