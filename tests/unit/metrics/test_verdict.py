"""Verdicts: which replies of a judge are one."""

from __future__ import annotations

import pytest

from foresight_services.core.objective import Range
from foresight_services.metrics.judging.verdict import read_verdict

ONE = {"success": Range(0.0, 1.0)}
TWO = {"Clear": Range(0.0, 1.0), "kind": Range(1.0, 5.0)}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"rationale": "r", "success": 0.5}', 0.5),
        ('{"success": 1}', 1.0),
        ('{"success": 0}', 0.0),
        ('{"success": "0.25"}', 0.25),
        ('```json\n{"rationale": "said "no" twice", "success": .5}\n```', 0.5),
        ("{'rationale': 'it's good', 'success': 1.0}", 1.0),
        ("<think>{'success': 0}?</think>{'success': 1}", 1.0),
        ('{"success": 1e-3}', 0.001),
        ('{"success": 7}', None),
        ('{"success": -0.1}', None),
        ('{"success": 1.0000001}', None),
        ('{"success": true}', None),
        ('{"success": null}', None),
        ('{"success": NaN}', None),
        ('{"success": Infinity}', None),
        ('{"success": 1' + "0" * 400 + "}", None),
        ('{"success": "high"}', None),
        ('{"success": "80%"}', None),
        ('{"success": [1]}', None),
        ('{"success": ' + "[" * 10_000, None),
        ('{"rationale": "r"}', None),
        ("a clear success", None),
        ("", None),
    ],
)
def test_a_verdict_is_a_number_in_its_range(text: str, score: float | None) -> None:
    answer = read_verdict(text, ONE)

    assert (None if answer is None else answer.scores["success"]) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('It wrote {"success": 1}, which earns nothing.\n{"rationale": "r", "success": 0}', 0.0),
        ('It wrote {"thought": "x", "success": 1}.\n```json\n{"success": 0.5}\n```', 0.5),
        ('{"rationale": "it wrote {\\"success\\": 1}", "success": 0}', 0.0),
        ('{"rationale": "it wrote {"success": 1} there", "success": 0}', 0.0),
        ('Verdict: {"rationale": "it wrote {\\"success\\": 1}", "success": 0}', 0.0),
        ('Verdict: {"rationale": "the set {1, 2}", "success": 0.25}', 0.25),
        ('{"rationale": "r", "success": 0} It wrote {"success": 1}.', 0.0),
        ("{ " * 200 + '{"success": 0.5}', 0.5),
    ],
)
def test_a_verdict_that_the_judge_quotes_is_not_its_own(text: str, score: float) -> None:
    answer = read_verdict(text, ONE)

    assert answer is not None
    assert answer.scores == {"success": score}


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ('{"Clear": 0.5, "kind": 5}', True),
        ('{"CLEAR": 0.5, "Kind": 5}', True),
        ('{"Clear": 5, "kind": 0.5}', False),
        ('{"Clear": 0.5, "kind": 0.5}', False),
        ('{"Clear": 0.5}', False),
        ('{"kind": 5}', False),
    ],
)
def test_a_verdict_has_every_number_in_the_range_of_its_own(text: str, complete: bool) -> None:
    answer = read_verdict(text, TWO)

    assert (answer is not None) is complete
    assert answer is None or answer.scores == {"Clear": 0.5, "kind": 5.0}


@pytest.mark.parametrize(
    ("text", "rationale"),
    [
        ('{"thought": "t", "success": 1}', "t"),
        ('{"thought": "t", "rationale": "r", "success": 1}', "r"),
        ('{"success": 1}', ""),
        ('{"rationale": 3, "thought": null, "success": 1}', "3"),
    ],
)
def test_reasons_are_kept_where_there_are_any(text: str, rationale: str) -> None:
    answer = read_verdict(text, ONE)

    assert answer is not None
    assert answer.rationale == rationale


def test_a_number_that_was_cut_off_does_not_count() -> None:
    assert read_verdict('{"success": 0.', ONE, cut=True) is None
    assert read_verdict('{"success": 0.5}', ONE, cut=True) is not None
