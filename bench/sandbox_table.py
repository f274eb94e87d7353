"""Run hostile code in the sandbox of this machine, and print what stopped it as a Markdown table.

The attempts are those of `tests/sandbox`, each in a fresh run. It ends with the time that honest
code takes, start and end of the sandbox included, which is what a score costs beside the tests.

    python -m bench.sandbox_table --rounds 30
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import statistics
import tempfile
from pathlib import Path

from foresight_services.sandbox.code_sandbox import ProcessSandbox
from foresight_services.sandbox.port import TestReport
from foresight_services.sandbox.settings import Isolation, SandboxSettings
from tests.sandbox.attempts import EXHAUSTION, HONEST, TEST, Attempt
from tests.sandbox.cheats import CHEATS
from tests.sandbox.escapes import ESCAPES
from tests.sandbox.late_cheats import LATE_CHEATS
from tests.sandbox.outside import filled_in, prepared

GROUPS = (
    ("Using more than its share", EXHAUSTION),
    ("Getting out", ESCAPES),
    ("Passing without being right", CHEATS + LATE_CHEATS),
)


def held(attempt: Attempt, report: TestReport) -> bool:
    """Whether the attempt was stopped by what should stop it."""
    return (
        report.status is attempt.status
        and re.search(attempt.stopped_by, report.stopped_by) is not None
        and re.search(attempt.told, report.stderr) is not None
        and "ESCAPED" not in report.stderr
        and report.passed == 0
    )


async def print_attempts(sandbox: ProcessSandbox) -> int:
    """Print a table of all attempts; return how many were not stopped."""
    failed = 0
    for title, attempts in GROUPS:
        print(f"\n### {title}\n\n| attempt | what stops it | status | the run ended by |")
        print("|---|---|---|---|")
        for attempt in attempts:
            with tempfile.TemporaryDirectory() as folder, prepared(Path(folder)) as outside:
                code = filled_in(attempt.code, outside)
                report = await sandbox.run_tests(code, TEST, attempt.limits)
            good = held(attempt, report)
            failed += not good
            status = report.status.value if good else f"**NOT STOPPED**: {report.status.value}"
            print(f"| {attempt.name} | {attempt.stops} | {status} | {report.stopped_by} |")
    return failed


async def print_times(isolation: Isolation, rounds: int) -> None:
    """Print how long honest code takes."""
    sandbox = ProcessSandbox(SandboxSettings(isolation=isolation))
    await sandbox.check()
    times = [(await sandbox.run_tests(HONEST, TEST)).seconds * 1000 for _ in range(rounds)]
    median, low, high = statistics.median(times), min(times), max(times)
    print(f"| {isolation.value} | {median:.0f} | {low:.0f} | {high:.0f} |")


async def measure(rounds: int) -> int:
    """Print everything; return how many attempts were not stopped."""
    user = "root" if os.geteuid() == 0 else "not root"
    count = sum(len(attempts) for _, attempts in GROUPS)
    print(f"{count} attempts as {user}, Linux {platform.release()}, {os.cpu_count()} CPUs")
    failed = await print_attempts(ProcessSandbox(SandboxSettings()))
    print("\n### Milliseconds of an honest run, one after the other\n")
    print("| isolation | median | shortest | longest |\n|---|---|---|---|")
    for isolation in Isolation:
        await print_times(isolation, rounds)
    return failed


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=30, help="runs of honest code")
    raise SystemExit(1 if asyncio.run(measure(parser.parse_args().rounds)) else 0)


if __name__ == "__main__":
    main()
