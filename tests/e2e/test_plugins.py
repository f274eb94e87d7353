"""The example package: installed by pip, scored with by the command, and broken in several ways."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cli_process import PATIENCE, ROOT, foresight, started

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples" / "metric_plugin"
REQUEST = (EXAMPLE / "request.yaml").read_text() + "include_futures: true\n"
MODULE = Path("foresight_question_rate") / "__init__.py"
ENTRY_POINTS = Path("foresight_question_rate-1.0.0.dist-info") / "entry_points.txt"

Edit = Callable[[str], str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example package into a folder of its own."""
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--no-warn-script-location"]
    subprocess.run(
        [*pip, "--quiet", *offline, "--target", str(target), str(source)],
        check=True,
        timeout=PATIENCE,
    )
    return target


def beside(folder: Path) -> dict[str, str]:
    """Return the environment in which the packages in `folder` are installed too."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}


def edited(installed: Path, folder: Path, changes: dict[Path, Edit]) -> dict[str, str]:
    """Copy the package, change some of its files, and return the environment that has it."""
    copy = folder / "installed"
    shutil.copytree(installed, copy)
    for path, edit in changes.items():
        before = (copy / path).read_text()
        after = edit(before)
        assert after != before
        (copy / path).write_text(after)
    return beside(copy)


def replacing(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new)


def test_a_request_is_scored_with_the_metric_of_a_package(installed: Path) -> None:
    ran = foresight("score", "-", "--json", stdin=REQUEST, env=beside(installed))
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    info = document["metrics"][0]
    assert (info["name"], info["version"]) == ("question_rate", "1")
    assert info["range"] == {"min": 0.0, "max": 1.0}
    rates = set()
    for candidate in document["candidates"]:
        assert candidate["metrics"]["question_rate"]["n_ok"] == 4
        for future in candidate["futures"]:
            said = [candidate["candidate"]]
            said += [m["content"] for m in future["messages"] if m["role"] == "assistant"]
            (score,) = (s for s in future["scores"] if s["name"] == "question_rate")
            assert score["value"] == sum("?" in text for text in said) / len(said)
            rates.add(score["value"])
    assert len(rates) > 1


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("{scope: al}", "objective.metrics[0].parameters.scope: unknown 'al'; did you mean 'all'?"),
        ("{scop: all}", "objective.metrics[0].parameters.scop: unknown 'scop'; did you mean"),
    ],
)
def test_its_parameters_are_checked(installed: Path, parameters: str, problem: str) -> None:
    request = REQUEST.replace("{scope: all}", parameters)
    ran = foresight("score", "-", stdin=request, env=beside(installed))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert problem in ran.stderr


BROKEN: dict[str, tuple[dict[Path, Edit], str]] = {
    "import": (
        {MODULE: lambda text: f"{text}\nimport nowhere_to_be_found\n"},
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    "type": (
        {ENTRY_POINTS: replacing(":DEFINITION", ":QuestionRate")},
        "is of type type; must be a Definition",
    ),
    "name": (
        {MODULE: replacing('"question_rate",', '"rate",')},
        "defines 'rate'; must be called as the entry point is",
    ),
    "clash": (
        {
            MODULE: replacing('"question_rate",', '"messages",'),
            ENTRY_POINTS: replacing("question_rate =", "messages ="),
        },
        "the name is taken by Foresight",
    ),
}


@pytest.mark.parametrize(("changes", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_package_is_told_in_one_line(
    installed: Path, tmp_path: Path, changes: dict[Path, Edit], problem: str
) -> None:
    ran = foresight("check-config", env=edited(installed, tmp_path, changes))
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith("evaluator.plugins: foresight-question-rate 1.0.0, entry point ")
    assert problem in line


def test_a_broken_package_stops_every_start(installed: Path, tmp_path: Path) -> None:
    changes, problem = BROKEN["name"]
    env = edited(installed, tmp_path, changes)
    for arguments in (("serve", "all", "--metrics", "none"), ("score", "-")):
        ran = foresight(*arguments, stdin=REQUEST, env=env)
        assert (ran.returncode, ran.stdout) == (2, ""), (arguments, ran.stderr)
        assert problem in ran.stderr


def test_packages_can_be_left_alone(installed: Path, tmp_path: Path) -> None:
    env = edited(installed, tmp_path, BROKEN["import"][0])
    config = tmp_path / "foresight.yaml"
    config.write_text("evaluator: {plugins: false}\n")
    assert foresight("check-config", config, env=env).returncode == 0
    ran = foresight("score", "-", "--config", config, stdin=REQUEST, env=env)
    assert ran.returncode == 2
    assert "objective.metrics[0].name: unknown 'question_rate'" in ran.stderr


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        ("raise KeyError(subject)", "INTERNAL", "internal error"),
        ("return Score(float('nan'))", "METRIC_FAILED", "scored nan, expected 0.0 to 1.0"),
        ("raise SystemExit(0)", "METRIC_FAILED", "tried to end the process"),
    ],
)
def test_a_metric_that_fails_costs_no_other_score(
    installed: Path, tmp_path: Path, body: str, reason: str, message: str
) -> None:
    change = replacing("        messages = subject", f"        {body}\n        messages = subject")
    env = edited(installed, tmp_path, {MODULE: change})
    ran = foresight("score", "-", "--json", stdin=REQUEST, env=env)
    assert ran.returncode == 1, ran.stderr
    for candidate in json.loads(ran.stdout)["candidates"]:
        assert candidate["value"] is None
        assert candidate["metrics"]["messages"]["n_ok"] == 4
        assert candidate["metrics"]["question_rate"]["n_failed"] == 4
        for future in candidate["futures"]:
            rate, count = future["scores"]
            assert rate["value"] is None
            assert rate["error"]["reason"] == reason
            assert message in rate["error"]["message"]
            assert count["value"] > 0


def test_it_is_served_too(installed: Path) -> None:
    options = ("--listen", "127.0.0.1:0", "--metrics", "none")
    with started("serve", "all", *options, env=beside(installed)) as service:
        address = service.out.wait_for(r"^serving all on (\S+),")[1]
        service.out.wait_for("^all is ready$")
        ran = foresight("score", "-", "--json", "--target", address, stdin=REQUEST)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["candidates"][0]["metrics"]["question_rate"]["n_ok"] == 4
