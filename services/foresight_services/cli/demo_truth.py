"""The estimator against the truth: random cases whose exact reward is known."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foresight import AsyncClient
from foresight_services.cli.exact_comparison import FUTURES, Compared, exact, make_request
from foresight_services.cli.futures_progress import FuturesProgress
from foresight_services.cli.reward_json import interval_document
from foresight_services.cli.reward_table import NONE, limits, number, with_error
from foresight_services.cli.terminal import one_line
from foresight_services.worlds.exact.cases import Case, random_case
from foresight_services.worlds.world import World

CASES: Final = 10


@dataclass(frozen=True, slots=True)
class CheckedCase:
    """A case with its estimate and its truth."""

    case: Case
    """The case."""
    compared: Compared
    """Estimate and truth."""


async def check_cases(
    client: AsyncClient, worlds: Mapping[str, World], seed: int
) -> list[CheckedCase]:
    """Score random cases, the worlds by turns."""
    rng = random.Random(seed)
    checked = []
    with FuturesProgress("cases", CASES) as progress:
        for _, world in zip(range(CASES), cycle(worlds.values()), strict=False):
            case = random_case(world, rng)
            request = make_request(
                preset=case.world,
                prefix=case.prefix,
                candidates=(case.candidate,),
                weights=case.weights,
                horizon=case.horizon,
                skill=case.skill,
                seed=rng.getrandbits(64),
            )
            rewards = await client.send(request)
            checked.append(CheckedCase(case, Compared(rewards[0], await exact(world, case))))
            progress.advance()
    return checked


def truth_summary(checked: Sequence[CheckedCase]) -> str:
    """Return one sentence on how many intervals hold the truth."""
    known = [each.compared.inside for each in checked if each.compared.inside is not None]
    return (
        f"{known.count(True)} of {len(known)} intervals hold the exact value; 19 of 20 are "
        "expected to."
    )


def print_cases(console: Console, checked: Sequence[CheckedCase]) -> None:
    """Print a table with one row for every case."""
    console.print(f"{len(checked)} random cases, {FUTURES} futures each, beside the exact value.\n")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("case", overflow="fold")
    for heading in ("MR ± stderr", "interval", "exact", "inside", "z"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in checked:
        one, reward = each.compared, each.compared.reward
        cells = [
            f"{each.case.world}, {each.case.skill}, {each.case.horizon} ahead:"
            f" {one_line(each.case.candidate, 30)}",
            with_error(reward.value, reward.stderr),
            limits(reward.interval),
            number(one.exact),
            {True: "yes", False: "no", None: NONE}[one.inside],
            NONE if one.z is None else f"{one.z:+.1f}",
        ]
        table.add_row(*(Text(cell) for cell in cells), style="" if one.inside else "yellow")
    console.print(table)
    console.print(Text(f"\n{truth_summary(checked)}", style="bold"))


def cases_document(checked: Sequence[CheckedCase], seed: int) -> dict[str, Any]:
    """Return what `demo --truth --json` prints."""
    return {
        "seed": seed,
        "futures": FUTURES,
        "cases": [
            {
                "world": each.case.world,
                "prefix": [{"role": m.role, "content": m.content} for m in each.case.prefix],
                "candidate": each.case.candidate,
                "weights": dict(each.case.weights),
                "horizon_messages": each.case.horizon,
                "policy": each.case.skill,
                "value": each.compared.reward.value,
                "stderr": each.compared.reward.stderr,
                "interval": interval_document(each.compared.reward.interval),
                "exact": each.compared.exact,
                "inside": each.compared.inside,
                "z": each.compared.z,
            }
            for each in checked
        ],
        "summary": truth_summary(checked),
    }
