"""The wheel as users get it, and fresh environments that hold the client's dependencies only."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the working tree."""
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(build, cwd=ROOT, check=True)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="session", params=["oldest", "newest"])
def client_bin(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Install the wheel without extras, once per end of the range of its dependencies."""
    if request.param == "oldest" and sys.version_info >= (3, 14):
        pytest.skip("the oldest supported grpcio has wheels up to Python 3.13")
    environment = tmp_path_factory.mktemp(request.param)
    venv.create(environment, symlinks=True)
    pip = [*PIP, "--python", str(environment / "bin" / "python")]
    install = [*pip, "install", "--quiet", "--no-deps"]
    lock = ROOT / "requirements" / f"client-{request.param}.lock"
    subprocess.run([*install, "--require-hashes", "-r", str(lock)], check=True)
    subprocess.run([*install, str(wheel)], check=True)
    subprocess.run([*pip, "check"], check=True)
    return environment / "bin"
