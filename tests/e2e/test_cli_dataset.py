"""`foresight dataset` in processes of its own: lines, files, failures, signals."""

import json
import os
import re
import signal
import stat
import subprocess

import pytest

from foresight import build_request
from tests.e2e.cli_process import CLEAN, COMMAND, PATIENCE, ROOT, foresight, started

pytestmark = pytest.mark.e2e

HOSTILE = "\x1b[2J\u202e\x9b1A What is $2$?"


def beside(folder):
    """Return the environment in which modules of `folder` come before those that are installed."""
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def problems(tmp_path):
    """Twenty rows of MATH-Hard."""
    path = tmp_path / "problems.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(20):
            row = {"problem": f"{HOSTILE} {number}", "solution": rf"\boxed{{{number}}}"}
            file.write(json.dumps({**row, "level": "Level 5", "type": "Algebra"}) + "\n")
    return path


def test_lines_are_tasks_of_requests(problems):
    ran = foresight("dataset", "tasks", "math-hard", "--file", problems)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line["task"]["metadata"]["answer"] for line in lines] == [str(n) for n in range(20)]
    assert {line["split"] for line in lines} <= {"train", "eval"}
    assert build_request({"task": lines[3]["task"]}).task.goal == f"{HOSTILE} 3"
    assert ran.stdout.isascii() and "\x1b" not in ran.stdout


def test_options_choose_rows(problems):
    def ids(*options):
        ran = foresight("dataset", "tasks", "math-hard", "--file", problems, *options)
        assert (ran.returncode, ran.stderr) == (0, "")
        return [json.loads(line)["id"] for line in ran.stdout.splitlines()]

    every = ids()
    train, held_out = ids("--split", "train", "--seed", 3), ids("--split", "eval", "--seed", 3)
    assert sorted(train + held_out) == sorted(every)
    assert ids("--limit", 2) == every[:2]
    assert len(ids("--file", problems)) == 40


def test_a_file_appears_once_it_is_complete(problems, tmp_path):
    output = tmp_path / "tasks.jsonl"
    arguments = ("dataset", "tasks", "math-hard", "--file", problems, "--output", output)
    ran = foresight(*arguments, "--preset", "mine")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    written = output.read_text()
    assert {json.loads(line)["task"]["preset"] for line in written.splitlines()} == {"mine"}
    with problems.open("a") as file:
        file.write("broken")
    assert foresight(*arguments).returncode == 2
    assert output.read_text() == written
    assert sorted(os.listdir(tmp_path)) == ["problems.jsonl", "tasks.jsonl"]


@pytest.fixture
def pipe(tmp_path):
    """A named pipe, and a descriptor that keeps both of its ends open."""
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    yield path, descriptor
    os.close(descriptor)


def test_a_device_is_written_and_not_replaced(problems, pipe):
    path, descriptor = pipe
    ran = foresight("dataset", "tasks", "math-hard", "--file", problems, "--output", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert os.read(descriptor, 1 << 16).count(b"\n") == 20
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("math",), "name: unknown 'math'; did you mean 'math-hard'?"),
        (("single-turn",), "file: is needed: single-turn has no place of its own on the hub"),
        (("math-hard", "--file", "/none.jsonl"), "/none.jsonl: cannot be read: No such file"),
        (("math-hard", "--file", "/x.txt"), "/x.txt: has a format that is unknown '.txt'"),
        (("math-hard", "--file", "{file}", "--split", "test"), "--split: must be train, eval, all"),
        (("math-hard", "--file", "{file}", "--limit", "0"), "Invalid value for '--limit'"),
        (("math-hard", "--file", "{file}", "--output", "/none/x"), "--output: cannot be written"),
        (
            ("bigcodebench", "--file", "{file}"),
            "problems.jsonl, line 1, instruct_prompt: is missing",
        ),
        ((), "Missing argument 'NAME'"),
    ],
    ids=["name", "no file", "file", "format", "split", "limit", "output", "column", "nothing"],
)
def test_what_is_wrong_is_told_in_one_line(arguments, message, problems):
    ran = foresight("dataset", "tasks", *(str(a).format(file=problems) for a in arguments))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert message in ran.stderr


def test_a_missing_library_is_told_in_one_line(tmp_path):
    # What stands in the way of a library that is there: a module that cannot be found.
    (tmp_path / "datasets.py").write_text("raise ModuleNotFoundError('no', name='datasets')")
    ran = foresight("dataset", "tasks", "math-hard", env=beside(tmp_path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "foresight: the library 'datasets' is missing: pip install 'foresight[data]'\n"
    )


def test_a_hub_out_of_reach_is_exit_code_3(tmp_path):
    (tmp_path / "datasets.py").write_text(
        "__version__ = '4.0.0'\n"
        "def load_dataset(repository, streaming):\n"
        "    raise ConnectionError(f'no way to {repository}')\n"
    )
    ran = foresight("dataset", "tasks", "math-hard", env=beside(tmp_path))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == (
        "foresight: lighteval/MATH-Hard cannot be read from the hub:"
        " ConnectionError: no way to lighteval/MATH-Hard\n"
    )


ENDLESS = """
__version__ = "4.0.0"
def load_dataset(repository, streaming):
    def rows():
        while True:
            yield {"problem": "p", "solution": "s", "level": "l", "type": "t"}
    return {"train": rows()}
"""


def test_a_reader_that_leaves_ends_it(tmp_path):
    (tmp_path / "datasets.py").write_text(ENDLESS)
    process = subprocess.Popen(
        [*COMMAND, "dataset", "tasks", "math-hard"],
        env=CLEAN | beside(tmp_path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    with process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(signum, tmp_path):
    (tmp_path / "datasets.py").write_text(ENDLESS)
    output = tmp_path / "folder" / "tasks.jsonl"
    output.parent.mkdir()
    arguments = ("dataset", "tasks", "math-hard", "--output", output)
    with started(*arguments, env=beside(tmp_path), terminal=True) as running:
        running.err.wait_for(r"tasks .*[1-9]\d*/\?")
        running.send(signum)
        assert running.wait() == 128 + signum
        said = "".join(running.err.rest())
    assert "Traceback" not in said
    assert re.search(r"cancelled\s*$", said)
    assert os.listdir(output.parent) == []


def test_a_signal_breaks_into_a_read_that_waits(pipe):
    path, descriptor = pipe
    row = {"problem": "p", "solution": "s", "level": "l", "type": "t"}
    os.write(descriptor, json.dumps(row).encode() + b"\n")
    arguments = ("dataset", "tasks", "math-hard", "--file", path)
    with started(*arguments, env={"PYTHONUNBUFFERED": "1"}) as running:
        running.out.wait_for("math-hard-")
        running.send(signal.SIGTERM)
        assert running.wait() == 143
        assert running.err.rest() == ["cancelled"]
