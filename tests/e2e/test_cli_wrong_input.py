"""Wrong input in processes of its own, where nothing else may be written; and what is right."""

import json

import pytest

from tests.e2e.cli_process import foresight

pytestmark = pytest.mark.e2e

START = 'task: {preset: groceries}\nprefix: [{role: user, content: "Hi"}]\n'
GOOD = START + "candidates: [a]\n"


@pytest.mark.parametrize(
    ("arguments", "text", "code", "message"),
    [
        (("score", "-"), "task: [", 2, "(stdin): is not YAML: "),
        (("score", "-"), GOOD + '"a\\e[2J\\n": x', 2, r"a\x1b[2J: unknown field"),
        (
            ("score", "-"),
            START + f"candidates: [{'x' * 10_000_000}]",
            2,
            "candidates[0]: is 10000000 bytes long; at most 1048576",
        ),
        (("score", "-", "--policy", "x"), GOOD, 2, "policy: unknown 'x'"),
        (("score", "-", "--target", "127.0.0.1:1"), GOOD, 3, "127.0.0.1:1 is unavailable"),
        (("score", "-", "--horzon", "2"), GOOD, 2, "No such option: --horzon"),
        (("serve", "all", "--listen", "unix:/tmp/" + "x" * 200), "", 2, "listen: cannot listen on"),
    ],
    ids=["yaml", "key", "long", "policy", "unreachable", "option", "listen"],
)
def test_is_told_in_one_line(arguments, text, code, message):
    ran = foresight(*arguments, stdin=text)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert message in ran.stderr
    assert "\x1b" not in ran.stderr


def test_every_problem_has_its_line(tmp_path):
    path = tmp_path / "request.yaml"
    path.write_text(START + "candidates: [1]\nsimulation: {seed: x, samples: {max: y}}\n")
    ran = foresight("score", path)
    assert ran.returncode == 2
    assert [line.partition(":")[0] for line in ran.stderr.splitlines()] == [
        "candidates[0]",
        "simulation.seed",
        "simulation.samples.max",
    ]


def test_an_unknown_variable_is_told():
    ran = foresight("check-config", env={"FORESIGHT_TOKN": "x"})
    assert ran.returncode == 2
    assert "FORESIGHT_TOKN: unknown 'FORESIGHT_TOKN'; did you mean 'FORESIGHT_TOKEN'?" in ran.stderr


def test_check_config_prints_what_it_would_read_again(tmp_path):
    path = tmp_path / "foresight.yaml"
    path.write_text("services: {drain_grace_seconds: 5}\n")
    env = {"FORESIGHT_CONFIG": str(path), "FORESIGHT_TOKEN": "s3cret"}
    ran = foresight("check-config", env=env)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"# {path}\n# FORESIGHT_TOKEN: set, not shown\nmodels:\n")
    assert "drain_grace_seconds: 5.0" in ran.stdout
    as_json = foresight("check-config", "--json", env=env)
    assert "s3cret" not in ran.stdout + as_json.stdout
    document = json.loads(as_json.stdout)
    assert document["secrets"] == {"FORESIGHT_TOKEN": "hidden"}
    path.write_text(ran.stdout)
    again = json.loads(foresight("check-config", path, "--json").stdout)
    assert again["config"] == document["config"]
