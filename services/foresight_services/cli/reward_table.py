"""The rewards of one group for people: a table, what failed, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from foresight import (
    CandidateReward,
    Decision,
    Interval,
    Lead,
    Lift,
    ModelUsage,
    Rewards,
    Usage,
)
from foresight_services.cli.ranking import ranks
from foresight_services.cli.terminal import one_line

NONE: Final = "—"
"""Shown where there is no value; never a zero."""

_TEXT_LIMIT: Final = 80
_WIDE: Final = 105
"""Columns from which on every metric has one of its own."""
_COMPARISON: Final = 18
"""Columns that a comparison of candidates takes more."""


def number(value: float | None) -> str:
    """Return `value` with three decimals."""
    return NONE if value is None else f"{value + 0.0:.3f}"


def with_error(value: float | None, stderr: float | None) -> str:
    """Return a value with its standard error."""
    if value is None or stderr is None:
        return number(value)
    return f"{number(value)} ± {stderr:.3f}"


def limits(interval: Interval | None) -> str:
    """Return the ends of a confidence interval."""
    if interval is None:
        return NONE
    return f"[{number(interval.low)}, {number(interval.high)}]"


def reward_table(candidates: Sequence[str], rewards: Rewards, *, width: int) -> Table:
    """Return one row for every candidate, the best one marked, for `width` columns."""
    behind = rewards.decision is not None or (len(rewards) > 1 and width >= _WIDE + _COMPARISON)
    lift = bool(rewards.baseline) and width >= _WIDE
    wide = width >= _WIDE + _COMPARISON * ((rewards.decision is None and behind) + lift)
    level = next((c.interval.level for c in rewards if c.interval is not None), 0.95)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("candidate", overflow="fold")
    for heading in ("MR ± stderr", f"{level * 100:g} % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    if behind:
        table.add_column("behind best", justify="right", no_wrap=True)
    if lift:
        table.add_column("lift ± stderr", justify="right", no_wrap=True)
    for metric in rewards.metrics if wide else ():
        table.add_column(Text(one_line(metric.name, 20)), justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for text, candidate, rank in zip(candidates, rewards, ranks(rewards.values), strict=True):
        means = [(metric.name, _mean(candidate, metric.name)) for metric in rewards.metrics]
        shown = one_line(text, _TEXT_LIMIT)
        if rewards.baseline and not lift:
            shown += f"\nlift {_lift(candidate.lift)}"
        if not wide:
            shown += "".join(f"\n{one_line(name, 20)} {mean}" for name, mean in means)
        cells = [
            NONE if rank is None else str(rank),
            shown,
            with_error(candidate.value, candidate.stderr),
            limits(candidate.interval),
            *((_behind(candidate.behind_best),) if behind else ()),
            *((_lift(candidate.lift),) if lift else ()),
            *(mean for _, mean in means if wide),
            f"{candidate.n_ok}/{candidate.n_requested}",
            candidate.status,
        ]
        best = rank == 1 and len(rewards) > 1
        if rewards.decision is not None:
            best = candidate.candidate_index == rewards.decision.best and len(rewards) > 1
        table.add_row(*(Text(cell) for cell in cells), style="bold green" if best else "")
    return table


def _behind(lead: Lead | None) -> str:
    return NONE if lead is None else with_error(lead.difference, lead.stderr)


def _lift(lift: Lift | None) -> str:
    return NONE if lift is None else with_error(lift.value, lift.stderr)


def baseline_line(rewards: Rewards) -> str:
    """Return what the policy says itself is worth."""
    known = [one.value for one in rewards.baseline if one.value is not None]
    drawn = f"{len(known)} of {len(rewards.baseline)} responses of the policy"
    lift = next((one.lift for one in rewards if one.lift is not None), None)
    return f"Baseline: {drawn}, MR {number(None if lift is None else lift.baseline)}"


def decision_line(decision: Decision) -> str:
    """Return what was decided, and how sure it is."""
    sure = f"{decision.confidence * 100:.1f} % sure"
    if decision.aim == "best":
        return f"Best: candidate {decision.best}, {sure}"
    return f"Ranking: {' > '.join(f'candidate {c}' for c in decision.ranking)}, {sure}"


def _mean(reward: CandidateReward, metric: str) -> str:
    summary = reward.metrics.get(metric)
    return number(summary.mean if summary else None)


def failure_lines(rewards: Rewards) -> list[str]:
    """Return one line for every candidate, and every response of a baseline, without a value."""
    return [
        f"{what} {one.candidate_index} has no value: {one_line(str(one.error))}"
        for what, many in (("candidate", rewards), ("baseline response", rewards.baseline))
        for one in many
        if one.value is None
    ]


def cost_line(usage: Usage) -> str:
    """Return what the work cost."""
    parts = [
        f"{usage.messages} messages simulated",
        *(_role_cost(role, model) for role, model in usage.models.items()),
        f"{usage.seconds:.2f} s",
    ]
    if usage.dollars:
        parts.append(_dollars(usage.dollars))
    return "Cost: " + "; ".join(parts)


def _role_cost(role: str, model: ModelUsage) -> str:
    """Return what one role cost; what there was none of is left out."""
    again = [
        f"{count} {what}"
        for count, what in ((model.retries, "retries"), (model.hedges, "hedges"))
        if count
    ]
    calls = f"{role} {model.calls} calls" + (f" ({', '.join(again)})" if again else "")
    cached = f" ({model.cached_tokens} cached)" if model.cached_tokens else ""
    return f"{calls}, {model.prompt_tokens}{cached} + {model.completion_tokens} tokens"


def _dollars(amount: float) -> str:
    """Return US dollars: to the cent, below one dollar to a hundredth of it."""
    if amount < 0.0001:
        return "less than $0.0001"
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"
