"""Measure what failing calls cost in rewards, calls and time, by kind of fault.

Groups of eight candidates in the builtin world groceries, one future each, over real sockets to a
server that plays the world by its rules and lets a share of the calls fail; between them stand
retries, breaker and limits as configured for a real model. Every row is compared, reward by reward,
with the run in which nothing fails: rewards lost, calls beyond those of that run, and the mean
difference with its standard error.

    python -m bench.faults --groups 125
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Mapping

from tests.fakes.fault_run import NEW_SEED, SAME_SEED, Outcome, differences, fault_run
from tests.fakes.openai_server import Fault, Reply

Case = tuple[str, float, Mapping[str, Fault | Reply]]
"""Name, share of the calls that fail, and how."""


def cases() -> Iterator[Case]:
    """Yield the rows of the table."""
    for name, fault in {**SAME_SEED, **NEW_SEED}.items():
        yield name, 0.2, {name: fault}
    yield "all that keep the seed", 0.2, SAME_SEED
    yield "all", 0.05, {**SAME_SEED, **NEW_SEED}
    yield "all", 0.2, {**SAME_SEED, **NEW_SEED}
    yield "all", 0.3, {**SAME_SEED, **NEW_SEED}


def row(name: str, share: float, base: Outcome, found: Outcome) -> str:
    """Return a line of the table."""
    mean, error, changed = differences(base, found)
    return (
        f"{name:23} {share:6.0%} {found.lost:5} {changed:8} {mean:+9.4f} {error:8.4f}"
        f" {found.calls - base.calls:+6} {found.retries:8} {found.seconds:8.1f}"
    )


async def measure(groups: int) -> None:
    """Measure and print the table, row by row."""
    base = await fault_run(groups=groups, share=0.0, timeout_seconds=300.0)
    print(f"{len(base.values)} rewards, {base.calls} calls where nothing fails")
    print(
        f"{'fault':23} {'share':>6} {'lost':>5} {'changed':>8} {'mean diff':>9} {'std err':>8}"
        f" {'calls':>6} {'retries':>8} {'seconds':>8}"
    )
    print(row("none", 0.0, base, base))
    for name, share, faults in cases():
        found = await fault_run(groups=groups, share=share, faults=faults)
        print(row(name, share, base, found), flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", type=int, default=125, help="groups of eight candidates")
    asyncio.run(measure(parser.parse_args().groups))


if __name__ == "__main__":
    main()
