"""The lift over the policy itself agrees with the exact one, and its interval is honest.

The exact lift is a candidate's exact reward less the mean exact reward of what the policy may
answer. Every number here is deterministic: cases, seeds and so draws and futures are fixed. Run
with `-s` to see the shares.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from foresight_services.bootstrap import (
    MonotonicClock,
    build_evaluator,
    build_models,
    build_rewards,
    build_simulator,
)
from foresight_services.config import Config
from foresight_services.core.lift import Lift
from foresight_services.core.objective import MetricSpec, Objective
from foresight_services.core.request import RewardQuery
from foresight_services.core.result import CandidateResult, GroupSummary, Reward
from foresight_services.core.reward import Rewards
from foresight_services.core.task import PolicyRef, Task
from foresight_services.telemetry.inert import InertTelemetry
from foresight_services.worlds.exact.cases import PARAMETERS, Case, exact_reward, random_case
from foresight_services.worlds.registry import make_worlds
from foresight_services.worlds.world import World

WORLDS = make_worlds()
CASES = 40
ANSWERS = 2000
"""Draws of the policy behind its exact mean: hundreds of times as many as of a baseline."""


@dataclass(frozen=True)
class Known:
    """A case, and what is true of it."""

    case: Case
    """The case."""
    answers: Counter[str]
    """What the policy answers, and how often of `ANSWERS`."""
    exact: dict[str, float]
    """The exact reward of each answer, and of the candidate."""

    @property
    def baseline(self) -> float:
        """The exact mean reward of what the policy answers."""
        return sum(n * self.exact[text] for text, n in self.answers.items()) / ANSWERS

    @property
    def lift(self) -> float:
        """The exact lift of the candidate."""
        return self.exact[self.case.candidate] - self.baseline


def known_cases(count: int, seed: int) -> Iterator[Known]:
    """Yield cases in which success is neither nearly sure nor nearly out of reach."""
    rng, found = random.Random(seed), 0
    while found < count:
        world = WORLDS["twenty_questions" if found % 3 == 2 else "groceries"]
        case = random_case(world, rng)
        answers = Counter(
            world.policy_turn(case.skill, case.prefix, random.Random(draw))
            for draw in range(ANSWERS)
        )
        texts = {case.candidate, *answers}
        # What is rare would be missing from the futures, standard error and all.
        if len(texts) <= 12 and all(0.05 <= chance(world, case, text) <= 0.95 for text in texts):
            found += 1
            exact = {text: exact_reward(world, replace(case, candidate=text)) for text in texts}
            yield Known(case, answers, exact)


def chance(world: World, case: Case, text: str) -> float:
    """Return the chance of success after `text`."""
    return exact_reward(world, replace(case, candidate=text, weights={"success": 1.0}))


def make_rewards() -> Rewards:
    config, clock, telemetry = Config(), MonotonicClock(), InertTelemetry()
    return build_rewards(
        config,
        build_simulator(config, clock, telemetry),
        build_evaluator(config, clock, build_models(config, clock, telemetry)),
        clock,
        telemetry,
    )


async def run(
    service: Rewards, case: Case, *, samples: int, responses: int, seed: int
) -> tuple[Lift, tuple[CandidateResult, ...]]:
    """Return the lift of the case's candidate, and the rows of its baseline."""
    query = RewardQuery(
        task=Task(world=case.world),
        prefix=case.prefix,
        candidates=(case.candidate,),
        objective=Objective(
            metrics=tuple(
                MetricSpec(name, weight, parameters=PARAMETERS.get(name, {}))
                for name, weight in case.weights.items()
            )
        ),
        horizon_messages=case.horizon,
        samples_max=samples,
        seed=seed,
        policy=PolicyRef(case.skill),
        max_message_tokens=160 if case.world == "groceries" else 32,
        baseline=responses,
    )
    found: Lift | None = None
    rows: tuple[CandidateResult, ...] = ()
    async with aclosing(service.compute(query)) as events:
        async for event in events:
            if isinstance(event, CandidateResult) and isinstance(event.outcome, Reward):
                found = event.outcome.lift
            elif isinstance(event, GroupSummary):
                rows = event.baseline
    assert found is not None and len(rows) == responses
    return found, rows


async def test_the_lift_agrees_with_the_exact_one() -> None:
    service = make_rewards()
    for known in known_cases(CASES, seed=1):
        found, rows = await run(service, known.case, samples=300, responses=16, seed=2)
        assert found.stderr is not None
        # The responses are what the policy answers, and each has its own exact reward.
        for row in rows:
            assert row.response in known.answers
            assert isinstance(row.outcome, Reward) and row.outcome.estimate.stderr is not None
            error = abs(row.outcome.estimate.mean - known.exact[row.response])
            assert error <= 4.5 * row.outcome.estimate.stderr + 1e-9
        drawn = sum(known.exact[row.response] for row in rows) / len(rows)
        # Of the draws, so only futures are in the way; then of all that the policy might say.
        given = known.exact[known.case.candidate] - drawn
        assert abs(found.value - given) <= 4.5 * found.stderr + 1e-9, (known.case, found)
        assert abs(found.value - known.lift) <= 4.5 * found.stderr + 1e-9, (known.case, found)


async def test_intervals_cover_the_exact_lift() -> None:
    service = make_rewards()
    hits = total = 0
    for index, known in enumerate(known_cases(CASES, seed=3)):
        for repeat in range(10):
            seed = 1000 * index + repeat
            found, _ = await run(service, known.case, samples=12, responses=4, seed=seed)
            if found.interval is None:
                continue
            total += 1
            hits += found.interval.low - 1e-9 <= known.lift <= found.interval.high + 1e-9
    print(f"\n{hits} of {total}: {hits / total:.2%}")
    assert total >= 200
    assert hits / total >= 0.9
