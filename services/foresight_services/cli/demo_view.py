"""The demo's results for people and for programs. Every sentence follows from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foresight_services.cli.demo_looks import Look, SceneLooks
from foresight_services.cli.demo_scenes import Scene
from foresight_services.cli.exact_comparison import FUTURES
from foresight_services.cli.reward_json import interval_document
from foresight_services.cli.reward_table import NONE, number, with_error
from foresight_services.cli.terminal import one_line
from foresight_services.core.conversation import Conversation

_CANDIDATE_LIMIT: Final = 120


def print_scenes(console: Console, looks: Sequence[SceneLooks]) -> None:
    """Print a table and a takeaway for every scene, and a summary."""
    console.print(
        f"Every value is the mean of {FUTURES} simulated futures ± its standard error, beside the "
        "exact value, which these small worlds allow to enumerate. MR looks ahead; the "
        "single-turn reward does not."
    )
    for position, each in enumerate(looks, 1):
        console.print(Text(f"\n{position}. {each.scene.title}", style="bold"))
        console.print(Text(_so_far(each.scene.prefix), style="dim"))
        console.print(_table(each))
        console.print(f"→ {takeaway(each)}", soft_wrap=True)
    console.print(Text(f"\n{summary(looks)}", style="bold"), soft_wrap=True)


def takeaway(each: SceneLooks) -> str:
    """Return one sentence on which candidate each reward puts first."""
    ahead, now = _first(each.scene, each.ahead), _first(each.scene, each.now)
    if ahead == now:
        return f"MR and the single-turn reward both put {ahead} first."
    return f"MR puts {ahead} first; the single-turn reward puts {now} first."


def summary(looks: Sequence[SceneLooks]) -> str:
    """Return one sentence on what looking ahead changed and how near the estimates are."""
    changed = sum(each.ahead.leaders != each.now.leaders for each in looks)
    inside = [
        one.inside for each in looks for look in (each.ahead, each.now) for one in look.compared
    ]
    return (
        f"Looking ahead changed the choice in {changed} of {len(looks)} situations; "
        f"{inside.count(True)} of {len(inside)} confidence intervals hold the exact value."
    )


def scenes_document(looks: Sequence[SceneLooks], seed: int) -> dict[str, Any]:
    """Return what `demo --json` prints."""
    return {
        "seed": seed,
        "futures": FUTURES,
        "scenes": [
            {
                "name": each.scene.name,
                "title": each.scene.title,
                "policy": each.scene.skill,
                "prefix": [{"role": m.role, "content": m.content} for m in each.scene.prefix],
                "candidates": list(each.scene.candidates),
                "multi_turn": _look_document(each.ahead),
                "single_turn": _look_document(each.now),
                "takeaway": takeaway(each),
            }
            for each in looks
        ],
        "summary": summary(looks),
    }


def _look_document(look: Look) -> dict[str, Any]:
    return {
        "horizon_messages": look.horizon,
        "best": look.leaders,
        "rewards": [
            {
                "value": each.reward.value,
                "stderr": each.reward.stderr,
                "interval": interval_document(each.reward.interval),
                "exact": each.exact,
                "rank": rank,
            }
            for each, rank in zip(look.compared, look.ranks, strict=True)
        ],
    }


def _table(each: SceneLooks) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("candidate", overflow="fold")
    for heading in (
        f"MR, {each.ahead.horizon} ahead",
        "exact",
        "rank",
        "single turn",
        "exact",
        "rank",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, candidate in enumerate(each.scene.candidates):
        cells = [Text(one_line(candidate, _CANDIDATE_LIMIT))]
        for look in (each.ahead, each.now):
            one, rank = look.compared[index], look.ranks[index]
            style = "bold green" if rank == 1 else ""
            cells += [
                Text(with_error(one.reward.value, one.reward.stderr), style=style),
                Text(number(one.exact), style="dim"),
                Text(NONE if rank is None else str(rank), style=style),
            ]
        table.add_row(*cells)
    return table


def _so_far(prefix: Conversation) -> str:
    """Return the conversation so far: the opening, then a question and its answer at a time."""
    said = [message.content for message in prefix]
    pairs = [
        f"{question} {answer}" for question, answer in zip(said[1::2], said[2::2], strict=True)
    ]
    return "   ".join([f"“{said[0]}”", *pairs])


def _first(scene: Scene, look: Look) -> str:
    names = [f"“{one_line(scene.candidates[index], _CANDIDATE_LIMIT)}”" for index in look.leaders]
    return " and ".join(names) or "none"
