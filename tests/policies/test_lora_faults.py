"""Adapters that a vLLM server does not load: typed errors, told once and never in a loop."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from foresight_services.core.errors import Reason
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.lora_server import LoraServer, LoraServerSettings
from tests.fakes.lora_policies import Policies, SetClock, ask, version
from tests.fakes.lora_server import LoraVllm, lora_vllm, write_adapter
from tests.fakes.openai_server import error
from tests.fakes.waiting import eventually


async def test_an_adapter_that_stays_away_is_an_error_and_no_loop(
    vllm: LoraVllm, policies: Policies, tmp_path: Path
) -> None:
    policy = version(1, write_adapter(tmp_path / "1", "one"))
    async with policies.models.open(policy) as model:
        vllm.restart()
        (tmp_path / "1" / "reply.txt").unlink()
        answers = await asyncio.gather(*(ask(model) for _ in range(32)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ModelFault}
    assert len(vllm.loads) == 2


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, FaultKind.BAD_REQUEST, Reason.MODEL_REJECTED),
        (401, FaultKind.UNAUTHORIZED, Reason.MODEL_REJECTED),
        (404, FaultKind.UNKNOWN_MODEL, Reason.MODEL_REJECTED),
        (422, FaultKind.BAD_REQUEST, Reason.MODEL_REJECTED),
    ],
)
async def test_a_refused_load_is_told_and_not_repeated(
    status: int, kind: FaultKind, reason: Reason, vllm: LoraVllm, policies: Policies
) -> None:
    vllm.refusal = lambda name: error(status, "the rank 64 is greater than max_lora_rank")
    policy = version(1, "/adapters/1")

    async def refused() -> ModelFault:
        with pytest.raises(ModelFault) as caught:
            await policies.reply(policy)
        return caught.value

    faults = await asyncio.gather(*(refused() for _ in range(32)))
    faults += [await refused() for _ in range(8)]
    assert {fault.kind for fault in faults} == {kind}
    assert {fault.reason for fault in faults} == {reason}
    assert not any(fault.retryable for fault in faults)
    if kind is not FaultKind.UNAUTHORIZED:
        assert "'/adapters/1'" in faults[0].message
        assert "max_lora_rank" in faults[0].message
    assert len(vllm.loads) == 1
    # What the operator mends is found after a while.
    vllm.refusal = lambda name: None
    policies.clock.time += 10.0
    await refused()
    assert len(vllm.loads) == 2
    assert vllm.calls == []


async def test_a_server_that_loads_nothing_while_it_runs_says_what_to_set(tmp_path: Path) -> None:
    async with lora_vllm(updating=False) as vllm:
        policies = Policies(vllm)
        with pytest.raises(ModelFault, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1") as refused:
            await policies.reply(version(1, write_adapter(tmp_path / "1", "one")))
        assert refused.value.kind is FaultKind.BAD_REQUEST
        await policies.aclose()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_load_that_may_pass_is_left_to_the_calls(
    status: int,
    vllm: LoraVllm,
    policies: Policies,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = [error(status), error(status), None]
    vllm.refusal = lambda name: faults.pop(0) if faults else None
    policy = version(1, write_adapter(tmp_path / "1", "one"))
    with caplog.at_level(logging.WARNING):
        async with policies.models.open(policy) as model:
            with pytest.raises(ModelFault) as passing:
                await ask(model)
            assert passing.value.retryable
            assert await ask(model) == "one"
    assert "left to its calls" in caplog.text
    assert len(vllm.loads) == 3


async def test_a_server_that_is_down_is_a_fault_of_the_connection() -> None:
    lora = LoraServer(LoraServerSettings("policy", "http://127.0.0.1:1/v1"), clock=SetClock())
    with pytest.raises(ModelFault) as down:
        await lora.loaded("policy@1", "/a")
    assert (down.value.kind, down.value.retryable) == (FaultKind.CONNECTION, True)
    await lora.aclose()


async def test_a_load_that_takes_too_long_is_a_timeout(vllm: LoraVllm, tmp_path: Path) -> None:
    policies = Policies(vllm, load_timeout_seconds=0.05)
    vllm.held = asyncio.Event()
    with pytest.raises(ModelFault) as late:
        await policies.lora.loaded("policy@1", write_adapter(tmp_path / "1", "one"))
    assert late.value.kind is FaultKind.TIMEOUT
    await policies.aclose()


async def test_an_unload_that_fails_is_logged_and_nothing_else(
    vllm: LoraVllm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policies = Policies(vllm, max_idle=0)
    policy = version(1, write_adapter(tmp_path / "1", "one"))
    vllm.unload_refusal = error(500)
    assert await policies.reply(policy) == "one"
    await eventually(lambda: "stays loaded" in caplog.text)
    await policies.aclose()
