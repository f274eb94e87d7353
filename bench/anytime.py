"""Measure what an answer is worth that had to come before all futures had ended.

    python -m bench.anytime [--rounds 3] [--out bench/results]

A group of 8 candidates x 16 futures of 4 messages, each with two verdicts, is asked of Foresight's
three services. The model server of `bench.side_by_side` takes 200 ms a call, log-normal, and has
32 slots, so that the calls stand in line and the whole takes seconds. First the group's time is
measured without a deadline, then groups that were never asked for are asked with deadlines of 10
to 200 % of it, and each once more without one: what had ended is in the cache, so that the full
reward holds the same futures and others. All of it twice: with every future at once, and with
`simulator.max_futures` of as many as there are slots. Prints a table; writes anytime.json and
anytime.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import uvloop

from bench.side_by_side.backend import Latency
from bench.side_by_side.bench import CONCURRENCY, Bench, benching, request, warm_up
from bench.side_by_side.report import machine
from bench.side_by_side.sizes import FULL
from foresight import DeadlineExceededError

RESULTS: Final = Path(__file__).parent / "results"
SAMPLES: Final = 16
LEAST: Final = 2
"""Futures that must have succeeded for a reward, so that it has a standard error."""
SLOTS: Final = 32
LATENCY: Final = Latency("lognormal", 200.0)
SHARES: Final = (0.10, 0.25, 0.50, 0.75, 0.90, 1.00, 1.25, 1.50, 2.00)
"""Deadlines, of the time that the whole takes."""
SETUPS: Final = {"all at once": CONCURRENCY, f"{SLOTS} at a time": SLOTS}
"""`simulator.max_futures` by the name of the set-up."""
_HEAD: Final = (
    *("deadline", "complete", "partial", "no value", "n_ok", "stderr", "off by"),
    *("margin, ms", "least", "late"),
)


class Scored(Protocol):
    """What counts of a candidate's reward."""

    @property
    def value(self) -> float | None: ...
    @property
    def stderr(self) -> float | None: ...
    @property
    def status(self) -> str: ...
    @property
    def error(self) -> Exception | None: ...
    @property
    def n_ok(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One group that was asked for with a deadline."""

    share: float
    """The deadline, of the time that the whole takes."""
    margin: float | None
    """Seconds from the answer to the deadline, negative after it; None where none came."""
    statuses: tuple[str, ...] = ()
    """`complete`, `partial`, or the name of the error, by candidate."""
    n_ok: tuple[int, ...] = ()
    """Futures in the reward, by candidate."""
    stderrs: tuple[float, ...] = ()
    """Standard errors of the rewards that have one."""
    off: tuple[float, ...] = ()
    """How far these are from the full rewards, in their standard errors."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one deadline in all rounds."""

    share: float
    """The deadline, of the time that the whole takes."""
    statuses: Mapping[str, int]
    """Candidates by status."""
    n_ok: float
    """Futures in a candidate's answer: the mean of a round, median of the rounds."""
    stderr: float | None
    """Mean standard error, likewise; None where no reward has one."""
    off: float | None
    """Mean distance from the full reward in standard errors, likewise."""
    margin: float | None
    """Seconds from the answer to the deadline, median."""
    least_margin: float | None
    """The same, least."""
    late: int
    """Groups whose answer did not come before the deadline."""


def answered(
    share: float, margin: float, rewards: Iterable[Scored], full: Sequence[float | None]
) -> Asked:
    """Return what an answer holds, beside the rewards of all futures."""
    rewards = tuple(rewards)
    stderrs, off = list[float](), list[float]()
    for reward, whole in zip(rewards, full, strict=True):
        if reward.value is None or reward.stderr is None or whole is None:
            continue
        stderrs.append(reward.stderr)
        # Equal values have no standard error to measure by.
        if reward.stderr > 0:
            off.append(abs(reward.value - whole) / reward.stderr)
    return Asked(
        share,
        margin,
        tuple(
            reward.status if reward.error is None else type(reward.error).__name__
            for reward in rewards
        ),
        tuple(reward.n_ok for reward in rewards),
        tuple(stderrs),
        tuple(off),
    )


def row(asked: Sequence[Asked]) -> Row:
    """Return what all rounds of one deadline came to."""
    margins = [one.margin for one in asked if one.margin is not None]
    statuses = Counter(status for one in asked for status in one.statuses)
    return Row(
        asked[0].share,
        dict(sorted(statuses.items())),
        _median_of_means([one.n_ok for one in asked]) or 0.0,
        _median_of_means([one.stderrs for one in asked]),
        _median_of_means([one.off for one in asked]),
        statistics.median(margins) if margins else None,
        min(margins, default=None),
        len(asked) - sum(margin >= 0 for margin in margins),
    )


def _median_of_means(rounds: Sequence[Sequence[float]]) -> float | None:
    means = [statistics.fmean(values) for values in rounds if values]
    return statistics.median(means) if means else None


async def measure(max_futures: int, rounds: int) -> tuple[list[float], list[Row]]:
    """Return the seconds that the whole takes, by rounds, and what came of each deadline."""
    with tempfile.TemporaryDirectory(prefix="anytime-") as folder:
        async with benching(Path(folder), None, FULL, max_futures=max_futures) as bench:
            await warm_up(bench)
            await bench.server.reset(LATENCY, slots=SLOTS)
            seconds = [await _whole(bench) for _ in range(rounds)]
            full = statistics.median(seconds)
            asked: dict[float, list[Asked]] = {share: [] for share in SHARES}
            for _ in range(rounds):
                for share, found in asked.items():
                    found.append(await _ask(bench, share, full))
            return seconds, [row(found) for found in asked.values()]


async def _whole(bench: Bench) -> float:
    begin = time.monotonic()
    rewards = await bench.client.send(_request(bench))
    if any(reward.status != "complete" for reward in rewards):
        raise RuntimeError("without a deadline a reward is not complete")
    return time.monotonic() - begin


async def _ask(bench: Bench, share: float, full: float) -> Asked:
    """Ask for a fresh group with a deadline, and then for the same without one."""
    group = _request(bench)
    begin, deadline = time.monotonic(), share * full
    try:
        rewards = await bench.client.send(group, timeout=deadline)
    except DeadlineExceededError:
        return Asked(share, None)
    margin = deadline - (time.monotonic() - begin)
    # What is left of the calls that were given up must not stand in the next group's way.
    whole = await bench.client.send(group)
    return answered(share, margin, rewards, whole.values)


def _request(bench: Bench) -> dict[str, Any]:
    """Return a request for a group that was never asked for."""
    asked = request(bench.fresh_group())
    asked["simulation"]["samples"] = {"min": LEAST, "max": SAMPLES}
    return asked


def table(rows: Sequence[Row]) -> str:
    """Return the table, in Markdown."""
    lines = [f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"]
    for one in rows:
        complete, partial = one.statuses.get("complete", 0), one.statuses.get("partial", 0)
        failed = sum(one.statuses.values()) - complete - partial
        margins = (None if m is None else 1e3 * m for m in (one.margin, one.least_margin))
        cells = [f"{one.share:.0%}", f"{complete}", f"{partial}", f"{failed}", f"{one.n_ok:.1f}"]
        cells += [_number(one.stderr, ".3f"), _number(one.off, ".2f")]
        cells += [*(_number(margin, ".0f") for margin in margins), f"{one.late}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def main() -> None:
    """Measure, print the tables, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument("--no-plot", dest="plot", action="store_false", help="draw no picture")
    arguments = parser.parse_args()
    if arguments.plot:
        # Before the work, so that a missing library is not found out after it.
        import bench.anytime_plot  # noqa: F401
    report: dict[str, Any] = {
        "machine": dict(machine(None)),
        "rounds": arguments.rounds,
        "candidates": 8,
        "samples": SAMPLES,
        "slots": SLOTS,
        "setups": {},
    }
    for name, max_futures in SETUPS.items():
        seconds, rows = uvloop.run(measure(max_futures, arguments.rounds))
        print(f"{name}: the whole takes {statistics.median(seconds):.2f} s\n\n{table(rows)}\n")
        report["setups"][name] = {
            "max_futures": max_futures,
            "full_seconds": seconds,
            "rows": [asdict(one) for one in rows],
        }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "anytime.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if arguments.plot:
        from bench.anytime_plot import draw

        draw(report, arguments.out / "anytime.png")


if __name__ == "__main__":
    main()
