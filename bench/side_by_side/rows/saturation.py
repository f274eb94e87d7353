"""A backend with 64 slots that is offered more than they hold: the share of them that is kept busy.

Both sides work on twice as many candidates at once, the GRPO batch's number: a candidate may begin
with a single call, for its three futures. Steady state is from five mean latencies after the start
until the last prompt is begun: before, the slots fill; after, what is left no longer fills them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.side_by_side import cases
from bench.side_by_side.backend import Latency
from bench.side_by_side.bench import Bench, NotWholeError, Span, checked
from bench.side_by_side.call_log import slot_share
from bench.side_by_side.findings import Findings, Goal, Line
from bench.side_by_side.pool import in_turns
from bench.side_by_side.work import Results, Row, Work

BUSY: Final = "percent of slots busy"
_FILL: Final = 5
"""Mean latencies after which the slots count."""


async def _foresight(bench: Bench) -> Findings:
    groups = [bench.fresh_group() for _ in range(bench.sizes.saturated_groups)]
    await _reset(bench)
    spans = await in_turns(bench.sizes.groups_at_once, groups, bench.score)
    return await _busy(bench, [span for group in spans for span in group])


async def _reference(bench: Bench) -> Findings:
    assert bench.reference is not None
    asked = bench.fresh_cases(bench.sizes.reference_saturated_groups * cases.CANDIDATES)
    await _reset(bench)
    threads = bench.sizes.groups_at_once * cases.CANDIDATES
    return await _busy(bench, await bench.reference.run(asked, threads=threads))


async def _reset(bench: Bench) -> None:
    latency = Latency("lognormal", bench.sizes.batch_mean_ms)
    await bench.server.reset(latency, slots=bench.sizes.slots)


async def _busy(bench: Bench, spans: Sequence[Span]) -> Findings:
    calls = checked(await bench.server.calls(), len(spans))
    begin = min(span.begin for span in spans) + _FILL * bench.sizes.batch_mean_ms / 1e3
    end = max(span.begin for span in spans)
    if end <= begin:
        raise NotWholeError("all prompts were begun before the slots were full")
    return {BUSY: [100 * slot_share(calls, bench.sizes.slots, begin, end)]}


def _lines(results: Results) -> list[Line]:
    found = results["saturation"]
    both = found.spread("reference", BUSY), found.spread("foresight", BUSY)
    return [Line("Saturated backend, slots kept busy", "%", *both, Goal("at least", 97))]


ROW: Final = Row("saturation", Work("saturation", _foresight, _reference), _lines)
