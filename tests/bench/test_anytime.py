"""The arithmetic of the anytime benchmark: what an answer holds, rows, the table."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench.anytime import Asked, answered, row, table
from foresight import DeadlineExceededError


@dataclass(frozen=True, slots=True)
class One:
    """A candidate's reward."""

    value: float | None
    stderr: float | None
    status: str
    n_ok: int
    error: Exception | None = None


def test_an_answer_is_held_against_the_full_reward_in_its_standard_errors() -> None:
    rewards = [
        One(1.0, 0.5, "partial", 4),
        One(2.0, 0.25, "complete", 16),
        One(0.5, 0.0, "partial", 2),
        One(None, None, "failed", 1, DeadlineExceededError("1 of 16 futures succeeded")),
    ]
    asked = answered(0.5, 0.1, rewards, [0.0, 2.0, 3.0, 1.0])
    assert asked.statuses == ("partial", "complete", "partial", "DeadlineExceededError")
    assert asked.n_ok == (4, 16, 2, 1)
    assert asked.stderrs == (0.5, 0.25, 0.0)
    # Equal values have no standard error to measure by.
    assert asked.off == (2.0, 0.0)


def test_a_row_is_the_median_of_the_rounds_means() -> None:
    rounds = [
        Asked(0.5, 0.3, ("partial", "complete"), (2, 4), (0.1, 0.3), (1.0, 0.0)),
        Asked(0.5, 0.1, ("partial", "partial"), (4, 8), (0.5, 0.7), ()),
        Asked(0.5, 0.2, ("partial", "partial"), (8, 8), (0.3, 0.3), (0.2, 0.4)),
    ]
    found = row(rounds)
    assert found.statuses == {"complete": 1, "partial": 5}
    assert found.n_ok == 6
    assert found.stderr == pytest.approx(0.3)
    assert found.off == pytest.approx(0.4)
    assert (found.margin, found.least_margin, found.late) == (0.2, 0.1, 0)


def test_an_answer_after_the_deadline_is_late_and_counts_for_nothing_else() -> None:
    found = row([Asked(0.1, None), Asked(0.1, -0.03, ("partial",), (3,), (0.1,), (0.5,))])
    assert (found.late, found.statuses, found.n_ok) == (2, {"partial": 1}, 3)
    assert found.least_margin == -0.03
    nothing = row([Asked(0.1, None)])
    assert (nothing.late, nothing.n_ok, nothing.stderr, nothing.margin) == (1, 0, None, None)


def test_the_table_tells_what_is_missing() -> None:
    rows = [
        row([Asked(0.25, 0.0504, ("partial", "DeadlineExceededError"), (3, 0), (0.2,), (1.0,))])
    ]
    lines = table([*rows, row([Asked(0.1, None)])]).splitlines()
    assert lines[2] == "| 25% | 0 | 1 | 1 | 1.5 | 0.200 | 1.00 | 50 | 50 | 0 |"
    assert lines[3] == "| 10% | 0 | 0 | 0 | 0.0 | – | – | – | – | 1 |"
