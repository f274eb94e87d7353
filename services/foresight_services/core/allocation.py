"""Which future of a group comes next, and when there are enough.

A `Sampling` is driven by events: it says which futures to start, is told of each that has ended,
and says again which to start. It holds no clock and starts nothing.

Reproducible by construction: futures are chosen one after the other in a *course*, and each choice
rests on the outcomes of all but the latest `window - 1` futures of the course, in the course's own
order. A future that ends early waits for its turn to be looked at; so the course, and with it every
reward, is a function of the outcomes and not of the order in which they arrived. Nothing that was
started is thrown away: a course ends when the rule, having seen all of it, wants no more. There is
no barrier: up to `window` futures are on their way, and the oldest alone can hold up the next.

Invariants: a candidate's sample indices are taken in order from 0 without a gap; no future is asked
for twice; a future that fails has used its index and its share of the limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from foresight_services.core.comparison import Values, count
from foresight_services.core.decision import Aim, Pair, decide
from foresight_services.core.future import FutureId
from foresight_services.core.stopping import guarded_variance, within_target

FIRST: Final = 3
"""Fewest futures of a candidate before anything is made of them; fewer only where `most` is."""

WINDOW: Final = 4
"""Futures on their way at once in a course of one candidate, by default."""


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """How many futures a group gets, and what for."""

    most: int
    """Most futures of a candidate, at least 1."""
    first: int = FIRST
    """Futures that every candidate gets in any case, 1 to `most`."""
    target_stderr: float | None = None
    """Standard error at which a candidate has enough; None for no such target."""
    aim: Aim | None = None
    """Decision that futures are spent on; None for none. Not together with `target_stderr`."""
    confidence: float = 0.95
    """Chance of being right at which the decision has enough, above 0 and below 1."""
    tolerance: float = 0.0
    """Differences up to this do not matter to the decision; at least 0."""
    total: int | None = None
    """Most futures of the group, at least `first` for each candidate; None for no such limit."""
    window: int | None = None
    """Most futures of one course on their way, beyond the first ones; None for the default."""

    @property
    def adaptive(self) -> bool:
        """Whether outcomes decide how many futures there are."""
        return self.aim is not None or self.target_stderr is not None

    @property
    def together(self) -> bool:
        """Whether the outcomes of one candidate decide about futures of another."""
        return self.aim is not None or self.total is not None


class Rule(Protocol):
    """Chooses the candidate that gets the next future."""

    def next(self, known: Sequence[Values], asked: Sequence[int]) -> int | None:
        """Return a candidate, None for enough.

        `known` holds the outcomes that may be looked at, `asked` the futures of each candidate so
        far, those on their way included.
        """
        ...


@dataclass(frozen=True, slots=True)
class TargetRule:
    """Gives the next future to the candidate with the largest standard error above the target."""

    target: float
    """Standard error that is enough."""
    most: int
    """Most futures of a candidate."""
    value_range: tuple[float, float] | None
    """The values that the objective can take."""

    def next(self, known: Sequence[Values], asked: Sequence[int]) -> int | None:
        """Return a candidate, None for enough."""
        worst, choice = -1.0, None
        for candidate, values in enumerate(known):
            if asked[candidate] >= self.most:
                continue
            ended = [x for x in values if x is not None]
            if values and not ended:
                # What fails each time is not tried to the end.
                continue
            coming = asked[candidate] - len(values)
            if within_target(ended, self.target, self.value_range, coming=coming):
                continue
            variance = guarded_variance(ended, self.value_range)
            error = math.inf if variance is None else variance / (len(ended) + coming)
            if error > worst:
                worst, choice = error, candidate
        return choice


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """Gives the next future to where it can still change the decision.

    A statement of the decision ("i is better than j") is open while it is less likely than its
    share of the confidence asks for and one of the two may have more futures. Of the open ones that
    with the smallest difference over standard error comes first, the transportation cost of the
    top-two rules: leader by the empirical mean, challenger by the smallest cost (EB-TC; Jourdan,
    Degenne, Baudry, de Heide & Kaufmann 2022, "Top Two Algorithms Revisited", section 2; with a
    tolerance, Jourdan, Degenne & Kaufmann 2023, "An epsilon-Best-Arm Identification Algorithm for
    Fixed-Confidence and Beyond", section 2). Futures on their way are counted as if they had
    come and changed no mean, so the rule can be asked again before they end.

    Which of the two gets the future: for `best`, the leader while the square of its number is less
    than the sum of the others' squares (the balance of Glynn & Juneja 2004, WSC, section 3, as OCBA
    has it: Chen, Lin, Yucesan & Chick 2000, Discrete Event Dyn. Syst. 10(3), theorem 1), here taken
    times 1 - correlation, for what common draws explain the leader need not be sampled against;
    and never behind its challenger. For `ranking`, the one with fewer, of equals the lower one.
    """

    aim: Aim
    """What is decided."""
    confidence: float
    """Chance of being right that is enough."""
    tolerance: float
    """Differences up to this do not matter."""
    most: int
    """Most futures of a candidate."""
    value_range: tuple[float, float] | None = None
    """The values that the objective can take; None where that is not known."""

    def next(self, known: Sequence[Values], asked: Sequence[int]) -> int | None:
        """Return a candidate, None for enough."""
        decision = decide(known, self.aim, self.tolerance, self.value_range)
        if decision is None:
            return None
        chances = decision.chances
        if decision.joint(chances) >= self.confidence:
            return None
        share = 1.0 - (1.0 - self.confidence) / len(decision.pairs)
        ended = [count(values) for values in known]
        expected = [
            n + taken - len(values) for n, taken, values in zip(ended, asked, known, strict=True)
        ]
        open_pairs = [
            pair
            for pair, chance in zip(decision.pairs, chances, strict=True)
            if chance < share and min(asked[pair.above], asked[pair.below]) < self.most
        ]

        def cost(pair: Pair) -> float:
            now = decision.spread.of_difference(ended[pair.above], ended[pair.below])
            then = decision.spread.of_difference(expected[pair.above], expected[pair.below])
            error = pair.comparison.stderr * math.sqrt(then / now) if now > 0.0 else 0.0
            ahead = pair.comparison.difference + self.tolerance
            return ahead / error if error > 0.0 else math.copysign(math.inf, ahead)

        if not open_pairs:
            return None
        pair = min(open_pairs, key=cost)
        upper, lower = pair.above, pair.below
        upper_first = expected[upper] < expected[lower]
        if self.aim == "best":
            others = math.fsum(n * n for c, n in enumerate(expected) if c != upper)
            balance = (1.0 - decision.spread.correlation) * others
            upper_first = upper_first or expected[upper] ** 2 < balance
        if asked[upper] >= self.most or (not upper_first and asked[lower] < self.most):
            return lower
        return upper


class _Course:
    """Futures chosen one after the other by one rule; see the module."""

    def __init__(
        self, candidates: Sequence[int], plan: SamplePlan, rule: Rule | None, window: int
    ) -> None:
        self.candidates = candidates
        self._rule = rule
        self._window = window
        self._limit = len(candidates) * plan.most if plan.total is None else plan.total
        first = plan.most if rule is None else plan.first
        # By sample index first: an answer cut short has as many futures of every candidate.
        self._order = [c for _ in range(first) for c in range(len(candidates))]
        self._asked = [first] * len(candidates)
        self._needed = len(candidates) * min(2, first)
        self._early: dict[FutureId, float | None] = {}
        self._known: list[list[float | None]] = [[] for _ in candidates]
        self._seen = 0
        self.ended = False

    def begin(self) -> tuple[FutureId, ...]:
        """Return the futures that everyone gets."""
        counts = [0] * len(self.candidates)
        first = []
        for local in self._order:
            first.append(FutureId(self.candidates[local], counts[local]))
            counts[local] += 1
        return tuple(first)

    def tell(self, which: FutureId, value: float | None) -> None:
        """Take in an outcome; it is looked at in its turn."""
        self._early[which] = value

    def go_on(self) -> tuple[FutureId, ...]:
        """Return the futures to start now."""
        started = []
        while not self.ended:
            choice = self._choice()
            if choice is not None:
                started.append(FutureId(self.candidates[choice], self._asked[choice]))
                self._order.append(choice)
                self._asked[choice] += 1
            elif self._seen == len(self._order):
                self.ended = True
            elif not self._look():
                break
        return tuple(started)

    def _choice(self) -> int | None:
        """Return who gets the next future, None where that cannot be said or none is wanted."""
        too_many = len(self._order) - self._seen >= self._window or len(self._order) >= self._limit
        if self._rule is None or too_many or self._seen < self._needed:
            return None
        return self._rule.next(self._known, self._asked)

    def _look(self) -> bool:
        """Look at the next outcome in the course's order; False where it is not there yet."""
        local = self._order[self._seen]
        which = FutureId(self.candidates[local], len(self._known[local]))
        if which not in self._early:
            return False
        self._known[local].append(self._early.pop(which))
        self._seen += 1
        return True


class Sampling:
    """Chooses the futures of one group."""

    def __init__(
        self,
        plan: SamplePlan,
        candidates: int,
        value_range: tuple[float, float] | None,
        *,
        first: int = 0,
    ) -> None:
        """Begin with nothing asked for.

        Args:
            plan: how many futures, and what for.
            candidates: how many candidates.
            value_range: the values that the objective can take; None where that is not known.
            first: what the first one is called; the others follow.
        """
        everyone = range(first, first + candidates)
        rule: Rule | None = None
        if plan.aim is not None:
            rule = DecisionRule(plan.aim, plan.confidence, plan.tolerance, plan.most, value_range)
        elif plan.target_stderr is not None:
            rule = TargetRule(plan.target_stderr, plan.most, value_range)
        # Apart where they can be: then a reward does not depend on who else is in the group.
        parts = [everyone] if plan.together else [range(c, c + 1) for c in everyone]
        window = plan.window or (candidates if plan.together else WINDOW)
        self._courses = [_Course(part, plan, rule, window) for part in parts]
        self._of = {c: course for course in self._courses for c in course.candidates}

    def begin(self) -> tuple[FutureId, ...]:
        """Return the futures to start with, by sample index."""
        first = [which for course in self._courses for which in course.begin()]
        return tuple(sorted(first, key=lambda which: (which.sample, which.candidate)))

    def ended(self, which: FutureId, value: float | None) -> tuple[FutureId, ...]:
        """Take in a future that has ended, None for a failed one; return those to start now."""
        course = self._of[which.candidate]
        course.tell(which, value)
        return course.go_on()

    def settled(self, candidate: int) -> bool:
        """Whether all futures of `candidate` have ended and there will be no more."""
        return self._of[candidate].ended

    @property
    def complete(self) -> bool:
        """Whether all futures of the group have ended and there will be no more."""
        return all(course.ended for course in self._courses)
