"""What work cost, added up."""

from __future__ import annotations

from itertools import permutations

from foresight_services.core.usage import CallLedger, Ledger, ModelUsage, Usage, total


def test_a_ledger_keeps_one_account_for_each_role() -> None:
    ledger = Ledger()
    ledger.record("user", ModelUsage(1, 10, 2))
    ledger.record("policy", ModelUsage(1, 5, 1))
    ledger.record("user", ModelUsage(1, 20, 3))
    usage = ledger.usage(messages=3, seconds=1.5)
    assert usage == Usage(3, {"user": ModelUsage(2, 30, 5), "policy": ModelUsage(1, 5, 1)}, 1.5)


def test_a_usage_does_not_change_when_its_ledger_goes_on() -> None:
    ledger = Ledger()
    ledger.record("user", ModelUsage(1, 10, 2))
    before = ledger.usage(messages=1, seconds=0.0)
    ledger.record("user", ModelUsage(1, 10, 2))
    assert before.models["user"].calls == 1


def test_a_total_adds_everything_but_time_which_overlaps() -> None:
    parts = [
        Usage(2, {"user": ModelUsage(1, 10, 2)}, 5.0),
        Usage(1, {"user": ModelUsage(1, 1, 1), "judge": ModelUsage(1, 7, 7)}, 6.0),
        Usage(),
    ]
    assert total(parts, seconds=6.5) == Usage(
        3, {"user": ModelUsage(2, 11, 3), "judge": ModelUsage(1, 7, 7)}, 6.5
    )
    assert total([], seconds=0.0) == Usage()


def test_dollars_do_not_depend_on_the_order_in_which_calls_end() -> None:
    costs = (0.1, 0.2, 0.3, 1e-9, 0.7)
    ledgers = set()
    totals = set()
    for order in permutations(costs):
        ledger = Ledger()
        for dollars in order:
            ledger.record("judge", ModelUsage(1, dollars=dollars))
        ledgers.add(ledger.of("judge").dollars)
        parts = [Usage(0, {"judge": ModelUsage(1, dollars=dollars)}) for dollars in order]
        totals.add(total(parts, seconds=0.0).models["judge"].dollars)
    assert ledgers == totals == {1.300000001}


def test_a_calls_ledger_tells_what_was_written_from_it_alone() -> None:
    ledger = Ledger()
    ledger.record("user", ModelUsage(1, 10, 2))
    call = CallLedger(ledger)
    assert call.noted == ModelUsage()
    call.record("user", ModelUsage(1, retries=1))
    ledger.record("user", ModelUsage(1, 7, 7))
    call.record("user", ModelUsage(0, 20, 3))
    assert call.noted == ModelUsage(1, 20, 3, retries=1)
    assert ledger.of("user") == ModelUsage(3, 37, 12, retries=1)
