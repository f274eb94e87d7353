"""What two sides did with the same requests, and where it differs.

Samples carry no name that both sides share, so they are paired by what was said in them. Scores are
equal to the last bit; MR and the objectives are sums, which may be added up in another order.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import Final

from bench.parity.cases import DOMAINS, Case, Domain
from bench.parity.outcome import Outcome, Sample
from bench.parity.replies import SIGNAL

SUM_TOLERANCE: Final = 1e-12
"""How far sums may be apart, absolutely."""

MR: Final = "MR"
OBJECTIVE: Final = "objective"

_TICKET: Final = re.compile(r"ticket (\d{4})", re.IGNORECASE)
_SHOWN_LINES: Final = 40

Outcomes = Mapping[tuple[int, int], Outcome]


@dataclass(slots=True)
class Row:
    """What was compared in one domain."""

    conversations: int = 0
    """Candidates, each with its conversation."""
    futures: int = 0
    """Futures of both sides that were paired."""
    early_ends: int = 0
    """Futures that the user ended before the horizon or at it."""
    odd_horizons: int = 0
    """Conversations with an odd horizon."""
    prompts_reference: int = 0
    """Distinct prompts of the reference."""
    prompts_foresight: int = 0
    """Distinct prompts of Foresight."""
    prompts_common: int = 0
    """Distinct prompts that both sent, byte for byte."""
    differences: dict[str, float] = field(default_factory=dict)
    """Largest difference of each metric, of the objectives and of MR."""


@dataclass(slots=True)
class Comparison:
    """The whole comparison."""

    rows: dict[Domain, Row]
    """Its parts."""
    problems: list[str]
    """Everything that is not equal, in words."""


def compare(
    cases: tuple[Case, ...],
    reference: Outcomes,
    foresight: Outcomes,
    prompts_reference: Set[str],
    prompts_foresight: Set[str],
) -> Comparison:
    """Compare outcomes and prompts."""
    rows: dict[Domain, Row] = {domain: Row() for domain in DOMAINS}
    problems: list[str] = []
    for case in cases:
        for candidate in range(len(case.candidates)):
            key = (case.number, candidate)
            row = rows[case.domain]
            row.conversations += 1
            row.odd_horizons += case.horizon % 2
            if key not in reference or key not in foresight:
                problems.append(f"request {key}: one side has no outcome")
                continue
            problems += _differences(row, reference[key], foresight[key])
    _count_prompts(rows, prompts_reference, prompts_foresight)
    # What was asked first: it decides what is said afterwards.
    asked = list(_prompt_problems(prompts_reference, prompts_foresight))
    return Comparison(rows, asked + problems)


def _differences(row: Row, reference: Outcome, foresight: Outcome) -> Iterator[str]:
    where = f"request {(reference.case, reference.candidate)}"
    if len(reference.samples) != len(foresight.samples):
        yield f"{where}: {len(reference.samples)} and {len(foresight.samples)} futures"
        return
    pairs = zip(
        sorted(reference.samples, key=_said), sorted(foresight.samples, key=_said), strict=True
    )
    for one, other in pairs:
        row.futures += 1
        last = one.transcript[-1]
        row.early_ends += last.role == "user" and SIGNAL in last.content
        if one.transcript != other.transcript:
            yield f"{where}: a transcript differs\n{_diff(_said(one), _said(other))}"
            continue
        if one.scores.keys() != other.scores.keys():
            yield f"{where}: metrics {sorted(one.scores)} and {sorted(other.scores)}"
            continue
        for metric, score in one.scores.items():
            if not _note(row, metric, score, other.scores[metric], 0.0):
                yield f"{where}: {metric} is {score!r} and {other.scores[metric]!r}"
        if not _note(row, OBJECTIVE, one.objective, other.objective, SUM_TOLERANCE):
            yield f"{where}: an objective is {one.objective!r} and {other.objective!r}"
    if not _note(row, MR, reference.mr, foresight.mr, SUM_TOLERANCE):
        yield f"{where}: MR is {reference.mr!r} and {foresight.mr!r}"


def _note(row: Row, name: str, one: float, other: float, tolerance: float) -> bool:
    """Note how far two numbers are apart; return whether it is little enough."""
    apart = abs(one - other)
    row.differences[name] = max(row.differences.get(name, 0.0), apart)
    return apart <= tolerance


def _said(sample: Sample) -> str:
    """Return the sample's transcript as text, the same for the same transcript."""
    return "\n".join(f"{message.role}: {message.content}" for message in sample.transcript)


def _count_prompts(rows: dict[Domain, Row], reference: Set[str], foresight: Set[str]) -> None:
    of_reference, of_foresight, common = (
        Counter(map(_domain, prompts)) for prompts in (reference, foresight, reference & foresight)
    )
    for domain, row in rows.items():
        row.prompts_reference = of_reference[domain]
        row.prompts_foresight = of_foresight[domain]
        row.prompts_common = common[domain]


def _domain(prompt: str) -> Domain:
    found = _TICKET.search(prompt)
    if found is None:
        raise ValueError("a prompt names no ticket")
    return list(DOMAINS)[int(found[1]) // 1000 - 1]


def _prompt_problems(reference: Set[str], foresight: Set[str]) -> Iterator[str]:
    missing, extra = sorted(reference - foresight), sorted(foresight - reference)
    if not missing and not extra:
        return
    yield f"{len(missing)} prompts only of the reference, {len(extra)} only of Foresight"
    if not missing or not extra:
        yield f"such as {(missing or extra)[0][:2000]}"
        return
    # Of each model one of the reference's and the other side's most like it.
    for model in ("user", "policy", "judge"):
        start = f'["{model}"'
        ones, others = ([p for p in prompts if p.startswith(start)] for prompts in (missing, extra))
        if ones and others:
            nearest = max(others, key=lambda other: _in_common(ones[0], other))
            yield f"the first of the model {model!r}\n{_diff(_text(ones[0]), _text(nearest))}"


def _in_common(one: str, other: str) -> tuple[bool, int]:
    """Return whether two prompts are about one ticket, and how much they begin and end alike."""
    tickets = {_TICKET.findall(prompt)[0] for prompt in (one, other)}
    same = len(commonprefix((one, other))) + len(commonprefix((one[::-1], other[::-1])))
    return len(tickets) == 1, same


def _text(prompt: str) -> str:
    _, messages = json.loads(prompt)
    return "\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)


def _diff(one: str, other: str) -> str:
    """Return the differing lines, white space made visible."""
    lines = difflib.unified_diff(
        [repr(line) for line in one.split("\n")],
        [repr(line) for line in other.split("\n")],
        "reference",
        "foresight",
        lineterm="",
        n=1,
    )
    return "\n".join(list(lines)[:_SHOWN_LINES])
