"""LiteLLM is imported late, and reaches out for nothing when it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERMETIC = """
import socket, sys

def refuse(*args, **kwargs):
    raise AssertionError(f"reached out: {args}")

socket.getaddrinfo = socket.create_connection = refuse
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def run(code: str, folder: Path) -> str:
    """Run `code` in a fresh interpreter that can reach nothing."""
    done = subprocess.run(
        [sys.executable, "-c", HERMETIC + code],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reached out" not in done.stderr
    return done.stdout.strip()


def test_without_such_a_model_litellm_is_not_imported(tmp_path: Path) -> None:
    code = """
import foresight_services.bootstrap, foresight_services.models.litellm
print("litellm" in sys.modules)
"""
    assert run(code, tmp_path) == "False"


def test_with_one_it_fetches_nothing_reads_no_env_file_and_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-a-file\n")
    code = """
import os, time
from foresight_services.models.litellm import LiteLLMModel, LiteLLMSettings

class Clock:
    def now(self):
        return 0.0

LiteLLMModel(LiteLLMSettings("user", "gpt-4o-mini"), clock=Clock())
import litellm
assert litellm.telemetry is False
print("litellm" in sys.modules, os.environ.get("OPENAI_API_KEY"))
"""
    assert run(code, tmp_path) == "True None"
