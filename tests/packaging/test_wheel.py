"""The wheel is the two packages, data files included, and nothing else of the repository."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "clients" / "foresight", ROOT / "services" / "foresight_services"]


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """List the files in the wheel."""
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_packages_and_no_other(names: set[str]) -> None:
    files = {
        file.relative_to(package.parent).as_posix()
        for package in PACKAGES
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == files


def test_wheel_carries_types_stubs_scenarios_and_license(names: set[str]) -> None:
    assert "foresight/py.typed" in names
    assert {
        "foresight/v1/reward_service_pb2.py",
        "foresight/v1/reward_service_pb2.pyi",
        "foresight/v1/reward_service_pb2_grpc.py",
        "foresight/v1/reward_service_pb2_grpc.pyi",
    } <= names
    assert any(
        name.startswith("foresight_services/tasks/") and name.endswith(".yaml") for name in names
    )
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
