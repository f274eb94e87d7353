"""A GRPO batch: 16 prompts x 8 candidates x 3 futures x 4 messages and 2 verdicts, 200 ms a call.

The reference is timed twice: four candidates one after the other, as its trainers call it, and the
whole batch from 128 threads. What the serial batch would take is the four's time times 32.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from bench.side_by_side import cases
from bench.side_by_side.backend import Latency
from bench.side_by_side.bench import Bench, checked
from bench.side_by_side.call_log import Call, characters, most_at_once
from bench.side_by_side.findings import Findings, Goal, Line
from bench.side_by_side.work import Results, Row, Work

SECONDS: Final = "batch seconds"
SERIAL: Final = "serial batch seconds"
SERIAL_CPU: Final = "serial CPU ms per call"
CPU: Final = "CPU ms per call"
CLIENT_CPU: Final = "client CPU ms per call"
CHARACTERS: Final = "prompt characters per MR"
REPEATED: Final = "share of prompts that began an earlier one"
RESIDENT: Final = "resident MiB"
AT_ONCE: Final = "calls at once"


async def _foresight(bench: Bench) -> Findings:
    groups = [bench.fresh_group() for _ in range(bench.sizes.batch_prompts)]
    await bench.server.reset(_latency(bench))
    children = (*bench.services.children, bench.server.process)
    before, own = [one.cpu_seconds() for one in children], time.process_time()
    begin = time.monotonic()
    await asyncio.gather(*(bench.score(group) for group in groups))
    seconds = time.monotonic() - begin
    own = time.process_time() - own
    taken = [one.cpu_seconds() - start for one, start in zip(children, before, strict=True)]
    calls = checked(await bench.server.calls(), len(groups) * cases.CANDIDATES)
    each = {
        f"{one.name} {CPU}": [1e3 * cpu / len(calls)]
        for one, cpu in zip(children, taken, strict=True)
    }
    return {
        SECONDS: [seconds],
        CPU: [1e3 * sum(taken[:-1]) / len(calls)],
        CLIENT_CPU: [1e3 * own / len(calls)],
        **each,
        **await _sent(bench, calls),
    }


async def _reference(bench: Bench) -> Findings:
    assert bench.reference is not None
    run, process = bench.reference.run, bench.reference.process
    share = bench.fresh_cases(bench.sizes.serial_candidates)
    await bench.server.reset(_latency(bench))
    begin, cpu = time.monotonic(), process.cpu_seconds()
    await run(share, threads=1)
    serial = time.monotonic() - begin
    serial_cpu = process.cpu_seconds() - cpu
    checked(await bench.server.calls(), len(share))
    asked = bench.fresh_cases(bench.sizes.batch_prompts * cases.CANDIDATES)
    await bench.server.reset(_latency(bench))
    begin, cpu = time.monotonic(), process.cpu_seconds()
    await run(asked, threads=bench.sizes.reference_threads)
    seconds, cpu = time.monotonic() - begin, process.cpu_seconds() - cpu
    calls = checked(await bench.server.calls(), len(asked))
    return {
        SERIAL: [serial / len(share) * len(asked)],
        SERIAL_CPU: [1e3 * serial_cpu / (len(share) * cases.CALLS)],
        SECONDS: [seconds],
        CPU: [1e3 * cpu / len(calls)],
        RESIDENT: [process.resident_mib()],
        **await _sent(bench, calls),
    }


def _latency(bench: Bench) -> Latency:
    return Latency("lognormal", bench.sizes.batch_mean_ms)


async def _sent(bench: Bench, calls: Sequence[Call]) -> Findings:
    """Return what was sent for the calls of a whole batch."""
    sent, scored = characters(calls), sum(call.choices for call in calls) / cases.CALLS
    roles = {f"{role} {CHARACTERS}": [number / scored] for role, number in sent.items()}
    return {
        AT_ONCE: [most_at_once(calls)],
        CHARACTERS: [sent.total() / scored],
        **roles,
        REPEATED: [(await bench.server.reuse()).share],
    }


def _lines(results: Results) -> list[Line]:
    found = results["batch"]
    own = found.spread("foresight", SECONDS)
    threads = found.spread("reference", SECONDS)
    serial = found.spread("reference", SERIAL)
    over_serial = found.ratios(SECONDS, SERIAL, of="reference")
    over_threads = found.ratios(SECONDS, SECONDS, of="reference")
    scaled = "the reference's is the time of a few candidates, scaled to all"
    return [
        Line("GRPO batch, reference serial", "s", serial, own, note=scaled),
        Line("GRPO batch, reference from threads", "s", threads, own),
        Line("GRPO batch, times faster than serial", "×", None, over_serial, Goal("at least", 100)),
        Line("GRPO batch, times faster than threads", "×", None, over_threads, Goal("at least", 7)),
        Line(
            "GRPO batch, most calls at once",
            "",
            found.spread("reference", AT_ONCE),
            found.spread("foresight", AT_ONCE),
        ),
    ]


WORK: Final = Work("batch", _foresight, _reference)
ROW: Final = Row("batch", WORK, _lines)
