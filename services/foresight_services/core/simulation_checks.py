"""What is wrong with a request for futures, beside what only a simulator's configuration tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foresight_services.core import checks, published
from foresight_services.core.errors import Violation
from foresight_services.core.future import SimulationRequest
from foresight_services.core.ports import Personas
from foresight_services.core.suggest import one_of


def violations(request: SimulationRequest) -> Iterator[Violation]:
    """Yield every field that is wrong, by its path in the contract."""
    yield from checks.prefix(request.prefix)
    yield from checks.candidates(request.candidates)
    yield from checks.integer("horizon_messages", request.horizon_messages, 0, checks.MAX_HORIZON)
    yield from checks.integer(
        "max_message_tokens", request.max_message_tokens, 1, checks.MAX_MESSAGE_TOKENS
    )
    yield from checks.budget(request.budget)
    for name in ("system_prompt_samples", "proactive_samples"):
        yield from checks.integer(name, getattr(request, name), 0, checks.MAX_SAMPLES)
    if not request.futures:
        yield Violation("futures", "is empty; ask for at least one future")
    last_candidate, last_sample = len(request.candidates) - 1, checks.MAX_SAMPLES - 1
    for index, which in enumerate(request.futures):
        # Almost always both are right, and there may be very many.
        if 0 <= which.candidate <= last_candidate and 0 <= which.sample <= last_sample:
            continue
        path = f"futures[{index}]"
        yield from checks.integer(f"{path}.candidate_index", which.candidate, 0, last_candidate)
        yield from checks.integer(f"{path}.sample_index", which.sample, 0, last_sample)
    if len(set(request.futures)) != len(request.futures):
        yield Violation("futures", "names a future twice; ask for each once")
    if request.published is not None:
        ref, source = request.published.ref, request.published.source
        yield from published.violations("published", ref, source)
        if ref != request.policy:
            yield Violation("published.ref", "is not `policy`, the version that is asked for")


def unknown_personas(names: Sequence[str], personas: Personas | None) -> Iterator[Violation]:
    """Yield every persona that the simulator has not; rules play none and take any name."""
    known = () if personas is None else personas.names
    for index, name in enumerate(names):
        if known and name not in known:
            yield Violation(f"personas[{index}]", one_of(name, known))
