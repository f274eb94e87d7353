"""The vLLM backend where there is no vLLM; tests/vllm runs the real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.vllm_engine import VllmModel
from foresight_services.models.vllm_settings import VllmSettings

ASK = ChatRequest("policy", Task(), (Message("user", "Hi!"),), 7, 40, Ledger())


@pytest.fixture
def without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setitem(sys.modules, "vllm.engine.arg_utils", None)


def test_nothing_heavy_is_imported_before_an_engine_starts() -> None:
    code = (
        "import sys; import foresight_services.models.vllm_engine,"
        " foresight_services.models.trl_server;"
        " print(sorted({'vllm', 'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.usefixtures("without_vllm")
async def test_a_missing_vllm_is_told_to_the_operator() -> None:
    model = VllmModel("mine", VllmSettings("a/model", max_loras=1))
    for call in (model.start, lambda: model.complete(ASK), lambda: model.with_adapter("p", 1, "/")):
        with pytest.raises(ModelFault) as told:
            await call()
        assert told.value.kind is FaultKind.BAD_REQUEST
        assert "model 'mine': the vLLM engine does not start" in told.value.message
    await model.aclose()


async def test_adapters_need_places() -> None:
    model = VllmModel("mine", VllmSettings("a/model"))
    with pytest.raises(ModelFault) as told:
        await model.with_adapter("policy", 1, "/an/adapter")
    assert told.value.kind is FaultKind.BAD_REQUEST
    assert "max_loras" in told.value.message


def test_settings_become_the_engines_arguments() -> None:
    settings = VllmSettings(
        "a/model",
        max_model_len=4096,
        gpu_memory_utilization=0.5,
        max_loras=2,
        compact_json=False,
        engine={"swap_space": 0, "enable_prefix_caching": False},
    )
    assert settings.engine_args(on_cpu=False) == {
        "model": "a/model",
        "dtype": "auto",
        "enforce_eager": False,
        "tensor_parallel_size": 1,
        "enable_prefix_caching": False,
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.5,
        "enable_lora": True,
        "max_loras": 2,
        "max_lora_rank": 16,
        "max_cpu_loras": 8,
        "swap_space": 0,
    }


def test_a_cpu_has_one_place_for_adapters_that_stays_empty() -> None:
    arguments = VllmSettings("a/model", max_loras=4, max_cpu_loras=2).engine_args(on_cpu=True)
    assert (arguments["max_loras"], arguments["max_cpu_loras"]) == (5, 5)
    assert arguments["enable_chunked_prefill"] is False
