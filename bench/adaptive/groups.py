"""Groups of candidates in the builtin worlds: exact rewards, and a table of real futures.

Every future runs through the core's `Simulation` and `Evaluation`, with the worlds' own rules as
models. Index k of all candidates of a group has the same goal and the same draws, as in a request.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from foresight_services.bootstrap import (
    MonotonicClock,
    build_evaluator,
    build_models,
    build_simulator,
)
from foresight_services.config import Config
from foresight_services.core.future import (
    EvaluationItem,
    EvaluationSetup,
    FutureId,
    SimulatedFuture,
    SimulationRequest,
)
from foresight_services.core.objective import MetricSpec, Objective
from foresight_services.core.ports import EvaluationSession, Evaluator, Simulator
from foresight_services.core.profiles import PROFILES
from foresight_services.core.task import PolicyRef, Task
from foresight_services.telemetry.inert import InertTelemetry
from foresight_services.worlds.exact.cases import PARAMETERS, Case, exact_reward, random_case
from foresight_services.worlds.groceries import Groceries
from foresight_services.worlds.groceries.sentences import asks
from foresight_services.worlds.registry import make_worlds
from foresight_services.worlds.world import World

CANDIDATES: Final = 8
"""Most candidates of a group, each a text of its own."""

MAX_HORIZON: Final = 6
"""Greatest horizon, in messages."""

WEIGHTS: Final = {"success": 1.0, "messages": -0.02, "token_amount": -1.0}
"""The objective, in the profile `release`."""


@dataclass(frozen=True, slots=True)
class Table:
    """One group: what is true of its candidates and what their futures scored."""

    world: str
    """Name of the world."""
    truth: tuple[float, ...]
    """Exact reward of every candidate."""
    values: tuple[tuple[float, ...], ...]
    """Objective by candidate and sample index."""
    calls: tuple[tuple[int, ...], ...]
    """Model calls by candidate and sample index."""
    range: tuple[float, float] | None
    """The values that the objective can take."""


def make_tables(count: int, *, futures: int, seed: int) -> list[Table]:
    """Return `count` groups with `futures` futures for every candidate."""
    return asyncio.run(_tables(count, futures, seed))


async def _tables(count: int, futures: int, seed: int) -> list[Table]:
    config, clock, telemetry = Config(), MonotonicClock(), InertTelemetry()
    simulator = build_simulator(config, clock, telemetry)
    evaluator = build_evaluator(config, clock, build_models(config, clock, telemetry))
    worlds = make_worlds(error_rate=0.0)
    tables: list[Table] = []
    rng = random.Random(seed)
    while len(tables) < count:
        # Three groups in four are of the shop: most candidates of the other world are nearly equal.
        world = worlds["twenty_questions" if len(tables) % 4 == 0 else "groceries"]
        case = replace(
            random_case(world, rng), weights=WEIGHTS, horizon=rng.randint(1, MAX_HORIZON)
        )
        candidates = _candidates(world, case, rng)
        if len(candidates) < CANDIDATES:
            continue
        # Equal seeds share draws even between groups; these should be independent.
        group_seed = rng.getrandbits(63)
        tables.append(
            await _table(simulator, evaluator, world, case, candidates, futures, group_seed)
        )
    return tables


def _candidates(world: World, case: Case, rng: random.Random) -> tuple[str, ...]:
    """Return `CANDIDATES` different responses to the case's prefix, fewer where there are no more.

    They are what the world's policies say; in the shop also questions about some of the needs.
    """
    texts = {case.candidate: None}
    for _ in range(8 * CANDIDATES):
        if len(texts) == CANDIDATES:
            break
        if isinstance(world, Groceries) and rng.random() < 0.5:
            needs = world.knowledge.needs
            text = asks(rng.sample(needs, rng.randint(1, len(needs))))
        else:
            text = world.policy_turn(rng.choice(world.skills), case.prefix, rng)
        texts[text] = None
    found = list(texts)
    rng.shuffle(found)
    return tuple(found)


async def _table(
    simulator: Simulator,
    evaluator: Evaluator,
    world: World,
    case: Case,
    candidates: Sequence[str],
    futures: int,
    seed: int,
) -> Table:
    request = SimulationRequest(
        task=Task(world=case.world),
        prefix=case.prefix,
        candidates=tuple(candidates),
        futures=tuple(FutureId(c, k) for k in range(futures) for c in range(len(candidates))),
        horizon_messages=case.horizon,
        seed=seed,
        policy=PolicyRef(case.skill),
        max_message_tokens=160,
    )
    specs = tuple(
        MetricSpec(name, weight, parameters=PARAMETERS.get(name, {}))
        for name, weight in case.weights.items()
    )
    setup = EvaluationSetup(
        task=request.task,
        prefix=request.prefix,
        candidates=request.candidates,
        metrics=specs,
        horizon_messages=request.horizon_messages,
        max_message_tokens=request.max_message_tokens,
    )
    values = [[0.0] * futures for _ in candidates]
    calls = [[0] * futures for _ in candidates]
    async with evaluator.open(setup) as session:
        aggregation = PROFILES["release"].bind(
            Objective("release", specs), tuple(metric.range for metric in session.metrics)
        )
        async with aclosing(simulator.simulate(request)) as ended:
            async for future in ended:
                if not isinstance(future.outcome, SimulatedFuture):
                    raise RuntimeError(f"a future of a builtin world failed: {future.outcome}")
                row = await _scores(session, future.id, future.outcome)
                values[future.id.candidate][future.id.sample] = aggregation.value(row)
                calls[future.id.candidate][future.id.sample] = future.usage.messages
    limits = aggregation.range
    return Table(
        world=case.world,
        truth=tuple(exact_reward(world, replace(case, candidate=text)) for text in candidates),
        values=tuple(map(tuple, values)),
        calls=tuple(map(tuple, calls)),
        range=None if limits is None else (limits.low, limits.high),
    )


async def _scores(
    session: EvaluationSession, which: FutureId, simulated: SimulatedFuture
) -> list[float]:
    """Return the metrics' scores of one future."""
    scores = await session.score(EvaluationItem(which, simulated.goal, simulated.messages))
    row = []
    for score in scores.scores:
        if not isinstance(score.outcome, float):
            raise RuntimeError(f"{score.name} failed: {score.outcome}")
        row.append(score.outcome)
    return row
