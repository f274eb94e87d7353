"""Every command explains itself."""

import sys

import pytest

from foresight_services.cli import main

COMMANDS = ("", "demo", "score", "serve", "check-config", "metrics", "dataset", "dataset tasks")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_the_exit_codes(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["foresight", *command.split(), "--help"])
    assert main() == 0
    written = capsys.readouterr().out
    assert "Exit codes: 0 ok; 1 a candidate has no value; 2" in " ".join(written.split())


def test_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["foresight", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("foresight 0.")
