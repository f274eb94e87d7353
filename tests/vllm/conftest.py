"""A real vLLM on the CPU with a tiny model: in this process, or as TRL's generation server.

Only the environment of `make test-vllm` has vLLM; in any other one nothing here is collected.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

from foresight_services.models.vllm_engine import VllmModel
from foresight_services.models.vllm_settings import VllmSettings
from tests.fakes.tiny_model import make_tiny_adapter, make_tiny_model
from tests.vllm.serving import ENVIRONMENT, Served, free_port, serving, trl_vllm_serve

if find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


OURS_ALONE = pytest.mark.filterwarnings("ignore:::(?!foresight|tests)")
"""vLLM and what it imports warn about each other; only warnings about our code are errors."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever is in this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.vllm)
            item.add_marker(OURS_ALONE)


@dataclass(frozen=True)
class TinyFiles:
    """Where the files of the tiny model are."""

    model: Path
    """The model."""
    trained: Path
    """The same model with other weights, as after a step of training."""
    adapters: tuple[Path, ...]
    """LoRA adapters of the model, one for each version from 1."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFiles:
    """Make the tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    return TinyFiles(
        make_tiny_model(folder / "model"),
        make_tiny_model(folder / "trained", seed=1),
        tuple(make_tiny_adapter(folder / f"v{n}", seed=n) for n in (1, 2, 3)),
    )


@pytest.fixture(scope="session", autouse=True)
def vllm_environment() -> Iterator[None]:
    """Have vLLM stay on this machine and leave its cores to whoever needs them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setitem(os.environ, name, value)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tiny: TinyFiles) -> AsyncIterator[VllmModel]:
    """Run the engine in this process."""
    model = VllmModel(
        "tiny",
        VllmSettings(
            str(tiny.model),
            dtype="float32",
            enforce_eager=True,
            kv_cache_bytes=1 << 28,
            block_size=32,
            max_loras=2,
            max_cpu_loras=2,
            max_lora_rank=8,
        ),
    )
    await model.start()
    yield model
    await model.aclose()


@pytest.fixture(scope="module")
def server(tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run TRL's generation server in a process of its own."""
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(trl_vllm_serve(tiny.model, port), port, log=log) as served:
        yield served
