"""The text of a goal: `address: 12 Oak Lane; diet: vegan`, the needs that matter and no others."""

from __future__ import annotations

from foresight_services.worlds.groceries.needs import NO_NEEDS, Goal, Knowledge


def format_goal(goal: Goal, knowledge: Knowledge) -> str:
    """Return the canonical text of `goal`: needs in the order of the needs file."""
    parts = [f"{need.id}: {goal[need.id]}" for need in knowledge.needs if need.id in goal]
    return "; ".join(parts) or NO_NEEDS


def parse_goal(text: str, knowledge: Knowledge) -> Goal:
    """Read a goal in any order, case and spacing; one that is no goal is a `ValueError`."""
    if _plain(text) == NO_NEEDS:
        return {}
    needs = {_plain(need.id): need for need in knowledge.needs}
    goal: dict[str, str] = {}
    for part in text.split(";"):
        left, colon, right = part.partition(":")
        need = needs.get(_plain(left)) if colon else None
        if need is None:
            raise ValueError(
                f"{_quote(part)} names no need: a goal is '{NO_NEEDS}' or lists needs as "
                f"'{_example(knowledge)}', each one of {', '.join(n.id for n in knowledge.needs)}"
            )
        if need.id in goal:
            raise ValueError(f"a goal names a need once, but {need.id} occurs twice")
        names = {_plain(value.name): value.name for value in need.values}
        if (name := names.get(_plain(right))) is None:
            raise ValueError(
                f"{need.id} is one of {', '.join(names.values())}, not {_quote(right)}"
            )
        goal[need.id] = name
    return goal


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _quote(text: str) -> str:
    # The offending text may be a whole document; the start of it is enough to find it.
    return repr(text.strip()[:60])


def _example(knowledge: Knowledge) -> str:
    return "; ".join(f"{need.id}: {need.values[-1].name}" for need in knowledge.needs[:2])
