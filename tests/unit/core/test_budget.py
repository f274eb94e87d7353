"""The account of a request's budget: what it lets through, in which order, and what never."""

from __future__ import annotations

import asyncio
import random

import pytest

from foresight_services.core.budget import NOTHING, Account, Budget, Cost, divide
from foresight_services.core.errors import Family, LimitReached, Reason
from tests.fakes.virtual_time import LoopClock, settle


def tokens(limit: int) -> Account:
    return Account(Budget(max_tokens=limit))


async def test_a_call_that_fits_is_let_through_and_books_what_it_spent() -> None:
    account = tokens(100)
    await account.reserve(Cost(60, 0.5), (0, 0))
    assert account.spent == NOTHING
    account.settle(Cost(60, 0.5), Cost(20, 0.1), (0, 0))
    assert account.spent == Cost(20, 0.1)
    await account.reserve(Cost(80), (0, 0))


async def test_a_call_that_could_pass_the_budget_is_refused_with_its_limit() -> None:
    account = tokens(100)
    with pytest.raises(LimitReached, match="could pass the budget: 0 of 100 spent") as refused:
        await account.reserve(Cost(101), (0, 0))
    assert refused.value.family is Family.LIMIT
    assert refused.value.reason is Reason.BUDGET_EXHAUSTED
    assert refused.value.metadata == {"budget": "max_tokens", "limit": "100"}


async def test_dollars_are_a_limit_of_their_own() -> None:
    account = Account(Budget(max_dollars=0.01))
    await account.reserve(Cost(10**9, 0.01), (0, 0))
    account.settle(Cost(10**9, 0.01), Cost(10**9, 0.004), (0, 0))
    with pytest.raises(LimitReached) as refused:
        await account.reserve(Cost(1, 0.0061), (0, 0))
    assert refused.value.metadata == {"budget": "max_dollars", "limit": "0.01"}
    await account.reserve(Cost(1, 0.006), (0, 0))


async def test_a_call_waits_for_those_in_flight_and_is_refused_only_when_they_left_too_little(
    clock: LoopClock,
) -> None:
    account = tokens(100)
    await account.reserve(Cost(60), (0, 0))
    fits, never = (asyncio.create_task(account.reserve(Cost(60), (1, i))) for i in range(2))
    await settle()
    assert not fits.done() and not never.done()
    account.settle(Cost(60), Cost(40), (0, 0))
    await settle()
    assert fits.done() and not never.done()
    account.settle(Cost(60), Cost(1), (0, 0))
    with pytest.raises(LimitReached, match="41 of 100 spent"):
        await never


async def test_calls_wait_in_the_order_of_their_futures_and_none_overtakes(
    clock: LoopClock,
) -> None:
    account, served = tokens(100), []

    async def call(sample: int, candidate: int, cost: int) -> None:
        await account.reserve(Cost(cost), (sample, candidate))
        served.append((sample, candidate))

    await account.reserve(Cost(100), (0, 0))
    async with asyncio.TaskGroup() as group:
        for place in ((1, 1), (1, 0), (0, 1), (2, 0)):
            group.create_task(call(*place, cost=10 if place == (2, 0) else 60))
        await settle()
        account.settle(Cost(100), NOTHING, (0, 0))
        await settle()
        # (2, 0) would fit beside the first, but comes after those that do not.
        assert served == [(0, 1)]
        account.settle(Cost(60), NOTHING, (0, 0))
        await settle()
        assert served == [(0, 1), (1, 0)]
        account.settle(Cost(60), NOTHING, (0, 0))
        await settle()
        assert served == [(0, 1), (1, 0), (1, 1), (2, 0)]


async def test_a_call_that_is_cancelled_while_it_waits_leaves_the_line(clock: LoopClock) -> None:
    account = tokens(100)
    await account.reserve(Cost(60), (0, 0))
    first, second = (asyncio.create_task(account.reserve(Cost(c), (1, c))) for c in (50, 51))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled() and not second.done()
    account.settle(Cost(60), NOTHING, (0, 0))
    await second


async def test_a_call_that_is_cancelled_as_it_is_let_through_gives_back_what_it_got(
    clock: LoopClock,
) -> None:
    account = tokens(100)
    await account.reserve(Cost(100), (0, 0))
    call = asyncio.create_task(account.reserve(Cost(100), (1, 0)))
    await settle()
    account.settle(Cost(100), NOTHING, (0, 0))
    call.cancel()  # before the task has run again
    with pytest.raises(asyncio.CancelledError):
        await call
    await account.reserve(Cost(100), (2, 0))


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_calls_do_the_budget_is_never_passed(seed: int, clock: LoopClock) -> None:
    rng = random.Random(seed)
    budget = Budget(max_tokens=2_000, max_dollars=0.02)
    account, refused = Account(budget), 0

    async def future(sample: int) -> None:
        nonlocal refused
        for _ in range(5):
            worst = Cost(rng.randint(1, 200), rng.random() / 500)
            try:
                await account.reserve(worst, (sample, 0))
            except LimitReached:
                refused += 1
                return
            spent = worst
            try:
                await asyncio.sleep(rng.random())
                share = rng.random()
                spent = Cost(int(worst.tokens * share), worst.dollars * share)
            finally:
                account.settle(worst, spent, (sample, 0))

    tasks = [asyncio.create_task(future(sample)) for sample in range(40)]
    await asyncio.sleep(1)
    for task in rng.sample(tasks, 8):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert refused > 0
    assert account.spent.tokens <= budget.max_tokens
    assert account.spent.dollars <= budget.max_dollars
    # Nothing is left reserved, or this could not be let through.
    rest = budget.max_tokens - account.spent.tokens
    await account.reserve(Cost(rest), (0, 0))


@pytest.mark.parametrize(
    ("turns", "judge_calls", "shares"),
    [(4, 0, (900, 1)), (0, 2, (1, 900)), (4, 2, (600, 300)), (0, 0, (1, 1))],
)
def test_a_budget_is_divided_by_the_calls_of_each_side(turns, judge_calls, shares) -> None:
    divided = divide(Budget(max_tokens=900), turns=turns, judge_calls=judge_calls)
    assert (divided.simulator.max_tokens, divided.evaluator.max_tokens) == shares


def test_what_has_no_limit_has_none_after_the_division() -> None:
    divided = divide(Budget(max_dollars=0.3), turns=2, judge_calls=1)
    assert (divided.simulator.max_tokens, divided.evaluator.max_tokens) == (0, 0)
    assert divided.simulator.max_dollars == pytest.approx(0.2)
    assert divided.evaluator.max_dollars == pytest.approx(0.1)
    assert not divide(Budget(), turns=2, judge_calls=1).simulator.limited


async def played(account: Account, worst: int) -> tuple[int, int]:
    """Play 20 futures of four calls of 25 tokens; count those that begin and those that end."""
    begun = ended = 0

    async def future(sample: int) -> None:
        nonlocal begun, ended
        with account.future((sample, 0)) as purse:
            for number in range(4):
                await purse.reserve(Cost(worst))
                begun += number == 0
                await asyncio.sleep(1 + sample % 3)
                purse.settle(Cost(worst), Cost(25))
        ended += 1

    await asyncio.gather(*(future(sample) for sample in range(20)), return_exceptions=True)
    return begun, ended


@pytest.mark.parametrize(("worst", "least"), [(25, 10), (30, 9), (100, 8), (300, 6)])
async def test_money_that_runs_short_finishes_some_futures_rather_than_none(
    clock: LoopClock, worst: int, least: int
) -> None:
    # Enough for half of the futures.
    account = Account(Budget(max_tokens=1_000), calls_per_future=4)
    begun, ended = await played(account, worst)
    assert ended >= least
    assert begun - ended <= 2


async def test_without_an_order_money_would_go_into_beginnings(clock: LoopClock) -> None:
    _, ended = await played(Account(Budget(max_tokens=1_000)), worst=25)
    assert ended <= 6


async def test_futures_that_can_all_be_paid_all_run_at_once(clock: LoopClock) -> None:
    account = Account(Budget(max_tokens=20 * 400), calls_per_future=4)
    start = clock.now()
    assert await played(account, worst=100) == (20, 20)
    assert clock.now() - start == pytest.approx(12)  # the slowest one's four calls
