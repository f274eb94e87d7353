"""What model calls may cost, and the account that keeps them below it.

A call takes its worst case out of the account before it is made and gives back what it did not
use. Where the worst case does not fit now but could once the calls in flight have settled, the call
waits; where it cannot fit any more, it is refused. So the budget is never passed, and no call is
refused that could still have been paid.

Money that runs short goes to some futures, which finish, rather than to all, of which none would:
calls of futures that have begun come first, both kinds wait sample by sample and none overtakes,
and a future begins only where what is left would also do for what the others still need, by the
dearest future so far. That is an estimate; where it fails, a future that has begun is refused its
next call, and the budget holds all the same.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from foresight_services.core.errors import LimitReached, Reason

LEAST_TOKENS: Final = 1
LEAST_DOLLARS: Final = 1e-12
"""Least shares of a budget: too little for any call, and not 0, which would be no limit."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What model calls may cost at most."""

    max_tokens: int = 0
    """Tokens read and written by all models together; 0 for no limit."""
    max_dollars: float = 0.0
    """US dollars by the price table; 0 for no limit."""

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.max_tokens or self.max_dollars)

    def part(self, numerator: int, denominator: int) -> Budget:
        """Return this fraction of every limit, and of an absent one none."""
        tokens = self.max_tokens * numerator // denominator
        dollars = self.max_dollars * numerator / denominator
        return Budget(
            max(tokens, LEAST_TOKENS) if self.max_tokens else 0,
            max(dollars, LEAST_DOLLARS) if self.max_dollars else 0.0,
        )


NO_LIMIT: Final = Budget()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs, or may cost."""

    tokens: int = 0
    """Tokens read and written."""
    dollars: float = 0.0
    """Their price in US dollars."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.dollars + other.dollars)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.tokens - other.tokens, self.dollars - other.dollars)

    def times(self, factor: int) -> Cost:
        """Return the cost of `factor` of them."""
        return Cost(self.tokens * factor, self.dollars * factor)

    def most(self, other: Cost) -> Cost:
        """Return the greater tokens and the greater dollars of both."""
        return Cost(max(self.tokens, other.tokens), max(self.dollars, other.dollars))


NOTHING: Final = Cost()

Place = tuple[int, int]
"""Where a future stands in line: its sample index, then its candidate."""


@dataclass(frozen=True, slots=True)
class Shares:
    """A request's budget, divided between the two services that call models."""

    simulator: Budget
    """For the turns of user and policy."""
    evaluator: Budget
    """For the calls of the judge."""


def divide(budget: Budget, *, turns: int, judge_calls: int) -> Shares:
    """Divide `budget` in the proportion of the calls that one future may take.

    Both services keep to their own share without asking each other, so together they keep to the
    budget. What one of them does not need the other cannot use.

    Args:
        budget: what the whole request may cost.
        turns: greatest number of simulated messages.
        judge_calls: calls of the judge by all metrics together.
    """
    calls = max(1, turns + judge_calls)
    return Shares(budget.part(turns, calls), budget.part(judge_calls, calls))


@dataclass(order=True, slots=True)
class _Waiting:
    """A call in line; calls of futures that have begun come before those that begin one."""

    begins: bool
    place: Place
    arrival: int
    cost: Cost = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class Account:
    """Keeps the calls of one request below its budget; for one event loop."""

    def __init__(self, budget: Budget, *, calls_per_future: int = 1) -> None:
        """Open the account.

        Args:
            budget: what all calls may cost.
            calls_per_future: greatest number of calls of one future, made one after the other; of
                futures with a single call any may begin that can be paid.
        """
        self._budget = budget
        self._calls_per_future = calls_per_future
        self._spent = NOTHING
        self._reserved = NOTHING
        self._in_flight = 0
        self._line: list[_Waiting] = []
        self._arrivals = itertools.count()
        self._begun: dict[Place, Cost] = {}
        """What the futures that have begun and not ended have spent and reserved."""
        self._begun_total = NOTHING
        self._charged: dict[Place, Cost] = {}
        """What the calls of each future have cost."""
        self._dearest = NOTHING
        """The most that a future has spent that has ended."""

    @property
    def spent(self) -> Cost:
        """What calls have cost so far, those in flight not included."""
        return self._spent

    @contextmanager
    def future(self, place: Place) -> Iterator[Purse]:
        """Give a future access to the account until it ends."""
        try:
            yield Purse(self, place)
        finally:
            cost = self._begun.pop(place, NOTHING)
            self._dearest = self._dearest.most(cost)
            self._begun_total = self._begun_total - cost if self._begun else NOTHING
            self._serve()

    async def reserve(self, cost: Cost, place: Place) -> None:
        """Take `cost`, a call's worst case, out of the account, waiting in line for it.

        Whoever reserves must `settle`, whatever became of the call.

        Raises:
            LimitReached: with `BUDGET_EXHAUSTED` where the call could pass the budget.
        """
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begins = self._calls_per_future > 1 and place not in self._begun
        heapq.heappush(self._line, _Waiting(begins, place, next(self._arrivals), cost, granted))
        self._serve()
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled() and granted.exception() is None:
                self._book(place, cost, NOTHING)  # granted and cancelled in the same turn
            self._serve()
            raise

    def settle(self, reserved: Cost, spent: Cost, place: Place) -> None:
        """Book what a call has `spent` in place of what it had `reserved`."""
        self._charged[place] = self.charged(place) + spent
        self._book(place, reserved, spent)
        self._serve()

    def charged(self, place: Place) -> Cost:
        """Return what the calls of one future have cost, those in flight not included."""
        return self._charged.get(place, NOTHING)

    def _book(self, place: Place, reserved: Cost, spent: Cost) -> None:
        self._spent += spent
        self._in_flight -= 1
        # Sums of floats drift; with nothing in flight nothing is reserved.
        self._reserved = self._reserved - reserved if self._in_flight else NOTHING
        if place in self._begun:
            self._begun[place] += spent - reserved
            self._begun_total += spent - reserved

    def _serve(self) -> None:
        """Grant or refuse the calls at the head of the line, up to the first that must wait."""
        while self._line:
            first = self._line[0]
            if first.granted.done():  # cancelled while it waited
                heapq.heappop(self._line)
                continue
            passed = self._passed(self._spent + first.cost)
            if passed is not None:
                first.granted.set_exception(self._exhausted(passed))
            elif self._passed(self._spent + self._reserved + first.cost) is not None:
                return
            elif first.begins and not self._can_begin(first):
                return
            else:
                self._grant(first)
            heapq.heappop(self._line)

    def _grant(self, call: _Waiting) -> None:
        self._reserved += call.cost
        self._in_flight += 1
        if self._calls_per_future > 1:
            self._begun[call.place] = self._begun.get(call.place, NOTHING) + call.cost
            self._begun_total += call.cost
        call.granted.set_result(None)

    def _can_begin(self, call: _Waiting) -> bool:
        """Return whether money would be left for a future that begins with `call`."""
        if not self._begun or call.place in self._begun:
            return True
        each = self._dearest
        if each == NOTHING:
            each = call.cost.times(self._calls_per_future)
        ended = self._spent + self._reserved - self._begun_total
        needed = self._begun_total.most(each.times(len(self._begun)))
        return self._passed(ended + needed + each) is None

    def _passed(self, cost: Cost) -> tuple[str, float] | None:
        """Return the name and the value of the limit that `cost` in all would pass, if any."""
        if self._budget.max_tokens and cost.tokens > self._budget.max_tokens:
            return "max_tokens", self._budget.max_tokens
        if self._budget.max_dollars and cost.dollars > self._budget.max_dollars:
            return "max_dollars", self._budget.max_dollars
        return None

    def _exhausted(self, passed: tuple[str, float]) -> LimitReached:
        name, limit = passed
        spent = self._spent.tokens if name == "max_tokens" else self._spent.dollars
        return LimitReached(
            Reason.BUDGET_EXHAUSTED,
            f"the next model call could pass the budget: {spent:.6g} of {limit:.6g} spent"
            f" ({name}, this service's share)",
            metadata={"budget": name, "limit": f"{limit:.12g}"},
        )


@dataclass(frozen=True, slots=True)
class Purse:
    """One future's access to the account of its request."""

    account: Account
    """The account that all futures of the request share in this process."""
    place: Place
    """Where the future stands in line."""

    async def reserve(self, cost: Cost) -> None:
        """Take out a call's worst case; see `Account.reserve`."""
        await self.account.reserve(cost, self.place)

    def settle(self, reserved: Cost, spent: Cost) -> None:
        """Book what a call has cost; see `Account.settle`."""
        self.account.settle(reserved, spent, self.place)


def open_account(budget: Budget, *, calls_per_future: int = 1) -> Account | None:
    """Return an account that keeps to `budget`; None where it has no limit."""
    return Account(budget, calls_per_future=calls_per_future) if budget.limited else None


@contextmanager
def purse_of(account: Account | None, *, sample: int, candidate: int) -> Iterator[Purse | None]:
    """Give a future access to `account` until it ends; None where there is none."""
    if account is None:
        yield None
        return
    with account.future((sample, candidate)) as purse:
        yield purse
