"""The engine in this process, the real vLLM on the CPU."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from foresight_services.core.ports import ChatModel, ChatReply
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.vllm_engine import VllmModel
from tests.fakes.waiting import eventually
from tests.vllm.conftest import TinyFiles
from tests.vllm.contract import ChatModelContract, InFlight, ask, assert_all_same, assert_same

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOAD = 40
"""Futures in flight when a version is replaced."""

SHORT, LONG = 16, 96
"""Lengths of replies in tokens."""


async def working_on(engine: VllmModel, requests: int) -> None:
    """Return when the engine works on at least so many requests."""
    running = (await engine._running()).engine
    await eventually(lambda: running.get_num_unfinished_requests() >= requests)


def begin(model: ChatModel, tokens: int) -> list[asyncio.Task[ChatReply]]:
    """Begin many futures of `model`."""
    requests = (ask(seed=seed, max_tokens=tokens) for seed in range(LOAD))
    return [asyncio.create_task(model.complete(request)) for request in requests]


async def many(model: ChatModel, tokens: int = SHORT) -> list[str]:
    """Return what `model` says in many futures at once."""
    return [reply.text for reply in await asyncio.gather(*begin(model, tokens))]


class TestContract(ChatModelContract):
    """The engine's base model is a chat model."""

    @pytest.fixture
    def model(self, engine: VllmModel) -> ChatModel:
        return engine


class TestContractOfAnAdapter(ChatModelContract):
    """So is a version of the policy."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def model(self, engine: VllmModel, tiny: TinyFiles) -> ChatModel:
        return await engine.with_adapter("policy", 1, str(tiny.adapters[0]))


async def test_versions_speak_differently_at_equal_seeds(
    engine: VllmModel, tiny: TinyFiles
) -> None:
    before = await many(engine)
    first = await engine.with_adapter("policy", 1, str(tiny.adapters[0]))
    second = await engine.with_adapter("policy", 2, str(tiny.adapters[1]))
    base, ones, twos = await asyncio.gather(many(engine), many(first), many(second))
    assert all(len(set(three)) == 3 for three in zip(base, ones, twos, strict=True))
    assert_same(base, before)


async def test_a_new_version_leaves_futures_in_flight_on_theirs(
    engine: VllmModel, tiny: TinyFiles
) -> None:
    first = await engine.with_adapter("swapped", 1, str(tiny.adapters[0]))
    ones, bases = InFlight(first, LOAD, LONG), InFlight(engine, LOAD, LONG)
    await working_on(engine, 2 * LOAD)
    at = ones.ended(), bases.ended()
    second = await engine.with_adapter("swapped", 2, str(tiny.adapters[1]))
    twos = await many(second)
    first_said, base_said = await asyncio.gather(ones.stop(at[0]), bases.stop(at[1]))

    ones_alone, bases_alone, twos_alone = await asyncio.gather(
        many(first, LONG), many(engine, LONG), many(second)
    )
    assert_all_same(first_said, ones_alone)
    assert_all_same(base_said, bases_alone)
    assert_same(twos, twos_alone)
    assert not set(twos) & {text[: len(two)] for text, two in zip(ones_alone, twos, strict=True)}


async def test_no_two_versions_share_a_number_or_a_name(engine: VllmModel, tiny: TinyFiles) -> None:
    one, two = (str(path) for path in tiny.adapters[:2])
    models = [
        await engine.with_adapter("numbered", 1, one),
        await engine.with_adapter("numbered", 2, two),
        await engine.with_adapter("numbered", 3, one),
        await engine.with_adapter("other", 1, one),
    ]
    adapters = [model._adapter for model in models]  # type: ignore[attr-defined]
    assert len({adapter.lora_int_id for adapter in adapters}) == len(adapters)
    assert len({adapter.lora_name for adapter in adapters}) == len(adapters)
    again = await engine.with_adapter("numbered", 2, two)
    assert again._adapter is adapters[1]  # type: ignore[attr-defined]


async def test_an_adapter_whose_files_are_gone_costs_its_own_calls_only(
    engine: VllmModel, tiny: TinyFiles, tmp_path: Path
) -> None:
    lost = tmp_path / "checkpoint-1"
    shutil.copytree(tiny.adapters[0], lost)
    first = await engine.with_adapter("lost", 1, str(lost))
    said = await first.complete(ask())
    shutil.rmtree(lost)
    assert (await first.complete(ask())).text == said.text, "it is still in memory"

    # The engine keeps two.
    for version in (2, 3):
        await engine.with_adapter("lost", version, str(tiny.adapters[version - 1]))
    with pytest.raises(ModelFault) as told:
        await first.complete(ask())
    assert told.value.kind is FaultKind.UNKNOWN_MODEL
    assert not (await engine._running()).engine.errored
    await engine.complete(ask())


async def test_what_is_no_adapter_is_refused(
    engine: VllmModel, tiny: TinyFiles, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    shutil.copytree(tiny.adapters[0], broken)
    (broken / "adapter_model.safetensors").write_bytes(b"no weights")
    for path in (tmp_path / "absent", tmp_path / "empty", broken, tiny.model):
        with pytest.raises(ModelFault) as told:
            await engine.with_adapter("refused", 1, str(path))
        assert told.value.kind is FaultKind.UNKNOWN_MODEL
    fine = await engine.with_adapter("refused", 1, str(tiny.adapters[0]))
    await fine.complete(ask())


async def test_a_cancelled_call_leaves_the_engine(engine: VllmModel, tiny: TinyFiles) -> None:
    adapted = await engine.with_adapter("policy", 1, str(tiny.adapters[0]))
    calls = [
        asyncio.create_task(model.complete(replace(ask(seed=seed, max_tokens=900), choices=2)))
        for seed in range(4)
        for model in (engine, adapted)
    ]
    await working_on(engine, 2 * len(calls))
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert (await engine._running()).engine.get_num_unfinished_requests() == 0
    await engine.complete(ask())


async def test_an_engine_that_dies_fails_its_calls_and_starts_again(
    engine: VllmModel, tiny: TinyFiles, caplog: pytest.LogCaptureFixture
) -> None:
    adapted = await engine.with_adapter("policy", 1, str(tiny.adapters[0]))
    before = await adapted.complete(ask())
    died = (await engine._running()).engine
    calls = asyncio.gather(
        *(engine.complete(ask(seed=seed, max_tokens=900)) for seed in range(4)),
        return_exceptions=True,
    )
    await working_on(engine, 4)
    for child in multiprocessing.active_children():
        child.kill()
    for end in await calls:
        assert isinstance(end, ModelFault) and end.kind is FaultKind.SERVER_ERROR and end.retryable
    await eventually(lambda: died.errored)

    reply: ChatReply = await adapted.complete(ask())
    assert reply.text == before.text
    # The records hold the dead engine, which complains if it is collected when pytest ends.
    caplog.clear()
