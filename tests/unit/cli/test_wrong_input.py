"""What is wrong with files, options and environment: one line each, its place, its exit code."""

import io
import sys

import pytest

from foresight_services.cli import main

START = 'task: {preset: groceries}\nprefix: [{role: user, content: "Hi"}]\n'
GOOD = START + "candidates: [a]\n"
SCORE = ("score", "{file}")
CHECK = ("check-config", "{file}")

CASES = {
    "missing file": (None, ("score", "{file}"), 2, "request: cannot be read: No such file"),
    "directory": (None, ("score", "/"), 2, "/: cannot be read: Is a directory"),
    "not yaml": ("task: [", SCORE, 2, "request: is not YAML: "),
    "not utf-8": (b"\xff\xfe\x00", SCORE, 2, "request: is not UTF-8 text"),
    "empty": ("", SCORE, 2, "request: is empty"),
    "a list": ("- a", SCORE, 2, "request: must be a mapping"),
    "unknown key": (GOOD + "candidate: x", SCORE, 2, "candidate: unknown field; did you mean"),
    "control characters in a key": (GOOD + '"a\\e[2J\\n": x', SCORE, 2, r"a\x1b[2J: unknown field"),
    "wrong type": (START + "candidates: [a, 3]", SCORE, 2, "candidates[1]: expected a string"),
    "nested key": (
        GOOD + "simulation: {samples: {maximum: 3}}",
        SCORE,
        2,
        "simulation.samples.maximum: unknown field",
    ),
    "key twice": (GOOD + "candidates: [b]", SCORE, 2, "has the key 'candidates' twice (line 4"),
    "too deep": ("[" * 100_000, SCORE, 2, "nested more than 50 levels deep"),
    "10 MB candidate": (
        START + f"candidates: [{'x' * 10_000_000}]",
        SCORE,
        2,
        "candidates[0]: is 10000000 bytes long; at most 1048576",
    ),
    "no candidates": (START, SCORE, 2, "candidates: is empty"),
    "unknown preset": (
        GOOD.replace("groceries", "grocery"),
        SCORE,
        2,
        "task.preset: unknown 'grocery'; did you mean 'groceries'?",
    ),
    "unknown policy": (
        GOOD,
        (*SCORE, "--policy", "focussed"),
        2,
        "unknown 'focussed'; did you mean 'focused'?",
    ),
    "unknown metric": (
        GOOD + "objective: {metrics: [{name: succes}]}",
        SCORE,
        2,
        "objective.metrics[0].name: unknown 'succes'; did you mean 'success'?",
    ),
    "samples": (GOOD, (*SCORE, "--samples", "0"), 2, "simulation.samples.max: is 0; must be 1"),
    "horizon": (GOOD, (*SCORE, "--horizon", "-2"), 2, "simulation.horizon_messages: is -2"),
    "seed": (GOOD, (*SCORE, "--seed", "-1"), 2, "simulation.seed: must be an integer from 0"),
    "timeout": (GOOD, (*SCORE, "--timeout", "nan"), 2, "--timeout: must be a positive number"),
    "target is a url": (GOOD, (*SCORE, "--target", "http://x"), 2, "--target: target 'http://x'"),
    "no such ca": (GOOD, (*SCORE, "--target", "x:1", "--tls-ca", "/nope"), 2, "--tls-ca: cannot"),
    "tls without target": (GOOD, (*SCORE, "--tls"), 2, "--tls: needs --target"),
    "config and target": (GOOD, (*SCORE, "--target", "x:1", "--config", "y"), 2, "--config: "),
    "option": (GOOD, (*SCORE, "--horzon", "2"), 2, "No such option: --horzon"),
    "no argument": (None, ("score",), 2, "FILE: is missing"),
    "command": (None, ("scoer",), 2, "No such command 'scoer'"),
    "config key": ("servces: {}", CHECK, 2, "servces: unknown key; did you mean 'services'?"),
    "config in score": (
        "roles: {user: x}",
        ("score", "-", "--config", "{file}"),
        2,
        "roles.user: ",
    ),
    "config secret": ("token: x", CHECK, 2, "token: is a secret"),
    "config too deep": ("[" * 3000 + "]" * 3000, CHECK, 2, "is nested too deeply"),
    "config knowledge": (
        "worlds: {twenty_questions: {knowledge_path: /nope}}",
        CHECK,
        2,
        "worlds.twenty_questions.knowledge_path: cannot be used",
    ),
    "serve what": (None, ("serve", "everything"), 2, "'everything' is not one of"),
    "serve listen": (None, ("serve", "all", "--listen", "here"), 2, "--listen: must be"),
    "serve metrics": (None, ("serve", "all", "--metrics", "x:99999"), 2, "--metrics: must be"),
    "serve peer": (None, ("serve", "all", "--simulator", "x:1"), 2, "--simulator: is for"),
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("FORESIGHT_CONFIG", "FORESIGHT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", CASES)
def test_is_told_in_one_line(name, tmp_path, monkeypatch, capsys):
    content, arguments, code, message = CASES[name]
    path = tmp_path / "request"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    filled = [argument.format(file=path) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["foresight", *filled])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert main() == code
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1, written.err
    assert message in written.err
    assert "\x1b" not in written.err
