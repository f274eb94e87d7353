"""Prove that Foresight and CollabLLM 0.0.8 send the same prompts and return the same rewards.

    python -m bench.parity --reference .venv-parity [--seed 7] [--every 1]

A model server on loopback answers both sides. Each scores the same random requests in a process of
its own; then the distinct prompts, the transcripts, all scores and MR are compared. Anything that
is not equal is shown, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.parity.cases import DOMAINS, make_cases, write_cases
from bench.parity.compare import MR, OBJECTIVE, SUM_TOLERANCE, Comparison, Outcomes, compare
from bench.parity.model_server import ModelServer, Side, model_server
from bench.parity.outcome import read_outcomes

RESULT: Final = Path(__file__).parents[1] / "results" / "parity.json"

_LEAST_CONVERSATIONS: Final = 200
_SHOWN_PROBLEMS: Final = 10
_METRICS: Final = ("accuracy", "bleu", "pass_rate", "interactivity", "token_amount")


def main() -> int:
    """Run both sides, compare them, show and write the result; return the exit status."""
    arguments = _arguments()
    installed = Path(arguments.reference).glob("lib/python*/site-packages/collabllm/prompts")
    prompts = next(installed, None)
    if prompts is None:
        raise SystemExit(f"{arguments.reference} has no collabllm; `make parity` installs it")
    return asyncio.run(_run(arguments, prompts))


async def _run(arguments: argparse.Namespace, prompts: Path) -> int:
    cases = make_cases(arguments.seed)[:: arguments.every]
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        path = Path(folder) / "cases.json"
        write_cases(cases, path)
        async with model_server() as server:
            reference = await _side("reference", server, path, f"{arguments.reference}/bin/python")
            foresight = await _side("foresight", server, path, sys.executable, str(prompts))
    comparison = compare(
        cases,
        reference,
        foresight,
        server.prompts["reference"].keys(),
        server.prompts["foresight"].keys(),
    )
    refused = sum(server.refused.values())
    if refused:
        comparison.problems.append(f"the model server could not answer {refused} calls")
    conversations = sum(row.conversations for row in comparison.rows.values())
    if arguments.every == 1 and conversations < _LEAST_CONVERSATIONS:
        comparison.problems.append(f"only {conversations} conversations")
    _show(comparison)
    if arguments.every == 1:
        _write(comparison, server, arguments.seed)
    return 1 if comparison.problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.parity")
    parser.add_argument("--reference", default=".venv-parity", help="environment of the reference")
    parser.add_argument("--seed", type=int, default=7, help="seed of the requests")
    parser.add_argument(
        "--every", type=int, default=1, help="take every Nth request; writes no result unless 1"
    )
    return parser.parse_args()


async def _side(
    side: Side, server: ModelServer, cases: Path, python: str, *further: str
) -> Outcomes:
    """Let one side score all cases; return its outcomes."""
    outcomes = cases.parent / f"{side}.jsonl"
    print(f"{side} …", flush=True)
    process = await asyncio.create_subprocess_exec(
        *(python, "-W", "ignore", "-m", f"bench.parity.{side}_side"),
        *(str(cases), server.address(side), str(outcomes), *further),
        env={**os.environ, "RUN_USER_DIR": str(cases.parent)},
    )
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise SystemExit(f"the side {side!r} ended with status {status}")
    return read_outcomes(outcomes)


def _show(comparison: Comparison) -> None:
    names = ("conversations", "futures", "early ends", "odd horizons")
    prompts = ("prompts: reference", "foresight", "in common")
    measures = (*_METRICS, OBJECTIVE, MR)
    table = [["", *DOMAINS, "all"]]
    rows = list(comparison.rows.values())
    for name in (*names, *prompts):
        field = {"prompts: reference": "prompts_reference", "foresight": "prompts_foresight"}
        key = {**field, "in common": "prompts_common"}.get(name, name.replace(" ", "_"))
        counts = [getattr(row, key) for row in rows]
        table.append([name, *map(str, counts), str(sum(counts))])
    for name in measures:
        found = [row.differences.get(name) for row in rows]
        most = max((value for value in found if value is not None), default=None)
        table.append([f"Δ {name}", *map(_number, (*found, most))])
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        print("  ".join((line[0].ljust(widths[0]), *cells)))
    for problem in comparison.problems[:_SHOWN_PROBLEMS]:
        print(f"DIFFERENT: {problem}")
    left = len(comparison.problems) - _SHOWN_PROBLEMS
    if left > 0:
        print(f"… and {left} more")
    if not comparison.problems:
        print("Everything is the same.")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _write(comparison: Comparison, server: ModelServer, seed: int) -> None:
    result = {
        "seed": seed,
        "equal": not comparison.problems,
        "problems": len(comparison.problems),
        "sum_tolerance": SUM_TOLERANCE,
        "calls": {side: prompts.total() for side, prompts in server.prompts.items()},
        "domains": {domain: asdict(row) for domain, row in comparison.rows.items()},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
