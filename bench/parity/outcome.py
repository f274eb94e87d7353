"""What one side found out about one candidate, as both runners write it: a line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.parity.cases import Said


@dataclass(frozen=True, slots=True)
class Sample:
    """One future and its scores."""

    transcript: tuple[Said, ...]
    """The whole conversation, prefix included, without system messages."""
    scores: Mapping[str, float]
    """Score of each metric, by the metric's name."""
    objective: float
    """Weighted sum of the scores."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All futures of one candidate."""

    case: int
    """Number of the request."""
    candidate: int
    """Position of the candidate in it."""
    samples: tuple[Sample, ...]
    """The futures, in no order that both sides share."""
    mr: float
    """Multiturn-aware reward: the mean of the objectives."""


def write_outcomes(outcomes: Iterable[Outcome], path: Path) -> None:
    """Write `outcomes` to a file."""
    path.write_text("".join(f"{json.dumps(asdict(o))}\n" for o in outcomes), "utf-8")


def read_outcomes(path: Path) -> dict[tuple[int, int], Outcome]:
    """Return what `write_outcomes` wrote, by request and candidate."""
    outcomes = {}
    for line in path.read_text("utf-8").splitlines():
        found = json.loads(line)
        samples = tuple(
            Sample(
                transcript=tuple(Said(**message) for message in sample["transcript"]),
                scores=sample["scores"],
                objective=sample["objective"],
            )
            for sample in found["samples"]
        )
        key = (found["case"], found["candidate"])
        outcomes[key] = Outcome(*key, samples, found["mr"])
    return outcomes
