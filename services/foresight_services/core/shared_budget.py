"""One budget for several simulations of one request.

A request whose sampling is adaptive asks a simulator for futures again and again. They share one
account, so that the budget is the request's and not each call's, and no call has a part of it that
another one could have used.

A simulator of this process keeps the account itself. Another process keeps one of its own for each
call; it is lent all that is left, one call at a time, and tells what every future took. So the
budget holds whichever replica answers, at the price that such calls wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from foresight_services.core.budget import (
    LEAST_DOLLARS,
    LEAST_TOKENS,
    NOTHING,
    Account,
    Budget,
    Cost,
    open_account,
)


class Loan:
    """What is left of a budget, in the hands of one call."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        """All that the call may spend."""
        self.spent = NOTHING
        """What it has spent as far as it told."""

    def book(self, cost: Cost) -> None:
        """Take note of what a future took."""
        self.spent += cost


class SharedBudget:
    """The account of one request; for one event loop."""

    def __init__(self, budget: Budget, *, calls_per_future: int) -> None:
        """Open the account.

        Args:
            budget: what all calls of models may cost; it has a limit.
            calls_per_future: greatest number of calls of one future.
        """
        self.account = Account(budget, calls_per_future=calls_per_future)
        """The account of a simulator in this process; nothing is lent then."""
        self._budget = budget
        self._spent = NOTHING
        self._lending = asyncio.Lock()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Loan]:
        """Lend all that is left, when nobody else has it."""
        async with self._lending:
            loan = Loan(_less(self._budget, self._spent))
            try:
                yield loan
            except BaseException:
                # What became of the futures that were on their way, nobody tells.
                loan.spent = Cost(loan.budget.max_tokens, loan.budget.max_dollars)
                raise
            finally:
                self._spent += loan.spent


def account_of(
    shared: SharedBudget | None, budget: Budget, calls_per_future: int
) -> Account | None:
    """Return the account that a simulation takes `budget` from; None where it has no limit."""
    if shared is not None:
        return shared.account
    return open_account(budget, calls_per_future=calls_per_future)


def _less(budget: Budget, spent: Cost) -> Budget:
    """Return what is left; where that is nothing, too little for any call."""
    return Budget(
        max(budget.max_tokens - spent.tokens, LEAST_TOKENS) if budget.max_tokens else 0,
        max(budget.max_dollars - spent.dollars, LEAST_DOLLARS) if budget.max_dollars else 0.0,
    )
