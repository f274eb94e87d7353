"""The comparison behind `make parity` sees every difference that it is there to see."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.parity.cases import Said, make_cases
from bench.parity.compare import SUM_TOLERANCE, Comparison, compare
from bench.parity.model_server import canonical
from bench.parity.outcome import Outcome, Sample

CASES = make_cases(1)[:1]
FIRST = Sample((Said("user", "Hi."), Said("assistant", "A?")), {"accuracy": 0.1}, 0.3)
SECOND = Sample((Said("user", "Hi."), Said("assistant", "B?")), {"accuracy": 0.7}, 2.1)
OUTCOME = Outcome(0, 0, (FIRST, SECOND), 1.2)
PROMPT = canonical("policy", [{"role": "user", "content": "(ticket 1000) Hi. "}])


def compared(outcome: Outcome | None = OUTCOME, prompt: str = PROMPT) -> Comparison:
    """Compare what Foresight did with what the reference did: `OUTCOME`, by `PROMPT`."""
    cases = tuple(replace(case, candidates=("Yes.",)) for case in CASES)
    foresight = {} if outcome is None else {(0, 0): outcome}
    return compare(cases, {(0, 0): OUTCOME}, foresight, {PROMPT}, {prompt})


def test_the_same_is_the_same_in_any_order_of_samples() -> None:
    comparison = compared(replace(OUTCOME, samples=(SECOND, FIRST)))
    row = comparison.rows["question answering"]
    assert comparison.problems == []
    assert (row.conversations, row.futures, row.prompts_common) == (1, 2, 1)
    assert row.differences == {"accuracy": 0.0, "objective": 0.0, "MR": 0.0}


def test_sums_may_differ_by_their_rounding_alone() -> None:
    assert compared(replace(OUTCOME, mr=1.2 + SUM_TOLERANCE / 2)).problems == []


def other(change: Callable[[Sample], Sample]) -> Outcome:
    return replace(OUTCOME, samples=(change(FIRST), SECOND))


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (None, "one side has no outcome"),
        (replace(OUTCOME, samples=(FIRST,)), "2 and 1 futures"),
        (replace(OUTCOME, mr=1.2 + 3 * SUM_TOLERANCE), "MR is 1.2 and"),
        (other(lambda s: replace(s, objective=0.3 + 1e-9)), "an objective is 0.3 and"),
        (
            other(lambda s: replace(s, scores={"accuracy": math.nextafter(0.1, 1)})),
            "accuracy is 0.1 and 0.10000000000000002",
        ),
        (other(lambda s: replace(s, scores={"bleu": 0.1})), "metrics ['accuracy'] and ['bleu']"),
        (
            other(lambda s: replace(s, transcript=(Said("user", "Hi. "), s.transcript[1]))),
            "+'user: Hi. '",
        ),
    ],
)
def test_an_outcome_that_differs_is_told(outcome: Outcome | None, told: str) -> None:
    problems = compared(outcome).problems
    assert any(told in problem for problem in problems), problems


def test_a_prompt_that_differs_in_one_byte_is_told() -> None:
    comparison = compared(prompt=PROMPT.replace("Hi. ", "Hi."))
    assert comparison.rows["question answering"].prompts_common == 0
    assert "1 prompts only of the reference, 1 only of Foresight" in comparison.problems[0]
    assert "-'(ticket 1000) Hi. '\n+'(ticket 1000) Hi.'" in comparison.problems[1]


def test_a_prompt_too_many_is_told() -> None:
    cases = tuple(replace(case, candidates=("Yes.",)) for case in CASES)
    outcomes = {(0, 0): OUTCOME}
    comparison = compare(cases, outcomes, outcomes, {PROMPT}, {PROMPT, PROMPT.replace("Hi", "Ho")})
    assert "0 prompts only of the reference, 1 only of Foresight" in comparison.problems[0]
