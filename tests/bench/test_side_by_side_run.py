"""The side-by-side benchmark from end to end, on little work and without the reference."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "bench.side_by_side")
LITTLE = ("--small", "--rounds", "1", "--no-plot", "--only", "batch", "--without-reference")
MOST_SECONDS = 240.0


def test_one_row_runs_and_is_written_down(tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, *LITTLE, "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    assert "GRPO batch" in run.stdout
    data = json.loads((tmp_path / "side_by_side.json").read_text("utf-8"))
    (found,) = data["findings"]["batch"]["foresight"]
    # 24 futures, each with two judges in the end.
    assert 1 <= found["calls at once"][0] <= 48
    assert found["prompt characters per MR"][0] > 10_000
    assert data["findings"]["batch"]["reference"] == []
    assert all(line["reference"] is None for line in data["lines"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    many = ("--rounds", "1000", "--small", "--no-plot", "--only", "batch", "--without-reference")
    with subprocess.Popen(
        [*COMMAND, *many, "--results", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stderr is not None
            assert run.stderr.readline().startswith("round 1, batch")
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            assert len(children) == 4
            run.send_signal(number)
            _, said = run.communicate(timeout=MOST_SECONDS)
        finally:
            run.kill()
    assert run.returncode == 1
    assert said.endswith("stopped\n")
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert not (tmp_path / "side_by_side.json").exists()


def test_a_child_that_dies_fails_the_run(tmp_path: Path) -> None:
    many = ("--rounds", "1000", "--small", "--no-plot", "--only", "batch", "--without-reference")
    with subprocess.Popen(
        [*COMMAND, *many, "--results", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stderr is not None
            assert run.stderr.readline().startswith("round 1, batch")
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            # The model server, which was started first.
            subprocess.run(["kill", "-9", children[0]], check=True)
            _, said = run.communicate(timeout=MOST_SECONDS)
        finally:
            run.kill()
    assert run.returncode == 1
    assert "failed:" in said
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_a_reference_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "--reference", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "has no collabllm" in run.stderr
