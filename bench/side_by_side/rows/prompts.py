"""Prompt characters sent for one MR at the same settings, and how much a prefix cache can reuse."""

from __future__ import annotations

from typing import Final

from bench.side_by_side.findings import Found, Goal, Line, Side, Spread
from bench.side_by_side.rows import batch
from bench.side_by_side.work import Results, Row


def _lines(results: Results) -> list[Line]:
    found = results["batch"]

    def line(title: str, name: str) -> Line:
        return Line(title, "", found.spread("reference", name), found.spread("foresight", name))

    lines = [line("Prompt characters per MR", batch.CHARACTERS)]
    for role in ("user", "policy", "judge"):
        lines.append(line(f"  of it to the {role} model", f"{role} {batch.CHARACTERS}"))
    pairs = zip(
        found.values("reference", batch.CHARACTERS),
        found.values("foresight", batch.CHARACTERS),
        strict=False,
    )
    part = Spread.of([100 * sum(own) / sum(other) for other, own in pairs])
    lines.append(
        Line("Prompt characters, of the reference's", "%", None, part, Goal("at most", 60))
    )
    reference, foresight = _repeated(found, "reference"), _repeated(found, "foresight")
    goal = None if reference is None else Goal("at least", reference.median)
    note = "bytes of a prompt that began an earlier prompt of the batch"
    title = "Prompts that a prefix cache can reuse"
    return [*lines, Line(title, "%", reference, foresight, goal, note)]


def _repeated(found: Found, side: Side) -> Spread | None:
    rounds = found.values(side, batch.REPEATED)
    return Spread.of([100 * share for values in rounds for share in values])


ROW: Final = Row("prompts", batch.WORK, _lines)
