"""The client installs beside old and new dependencies, and needs nothing of the services."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_client_imports_alone_and_without_warnings(client_bin: Path) -> None:
    program = Path(__file__).with_name("import_client.py")
    ran = subprocess.run(
        [client_bin / "python", "-I", "-W", "error", program], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_command_names_the_missing_extra(client_bin: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [client_bin / "foresight", "demo"], cwd=tmp_path, env=CLEAN, capture_output=True, text=True
    )
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert "foresight[services]" in ran.stderr
