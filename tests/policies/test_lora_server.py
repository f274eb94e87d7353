"""Adapters on a vLLM server: every version under a name of its own, loaded once, never in place."""

from __future__ import annotations

import asyncio
from pathlib import Path

from foresight_services.models.lora_server import adapter_name
from tests.fakes.lora_policies import Policies, ask, version
from tests.fakes.lora_server import LoraVllm, write_adapter
from tests.fakes.waiting import eventually


def test_no_two_publications_share_a_name() -> None:
    publications = [
        version(1, "/a"),
        version(2, "/a"),
        version(1, "/b"),
        version(1, "/a", at=1),
        version(1, "/a", name="other"),
        version(11, "/a"),
    ]
    names = [adapter_name(policy) for policy in publications]
    assert len(set(names)) == len(names)
    assert names[0].startswith("policy@1-")
    assert adapter_name(version(1, "/a")) == names[0]


async def test_each_version_speaks_by_its_own_weights(
    vllm: LoraVllm, policies: Policies, tmp_path: Path
) -> None:
    one = version(1, write_adapter(tmp_path / "1", "one"))
    two = version(2, write_adapter(tmp_path / "2", "two"))
    async with policies.models.open(one) as first, policies.models.open(two) as second:
        assert [await ask(first), await ask(second), await ask(first)] == ["one", "two", "one"]
    assert vllm.loads == [(adapter_name(p), p.source.location) for p in (one, two)]
    assert [call.model for call in vllm.calls] == [
        adapter_name(one),
        adapter_name(two),
        adapter_name(one),
    ]
    assert vllm.calls[0].headers["authorization"] == "Bearer key"


async def test_a_new_run_with_the_same_numbers_never_meets_the_old_weights(
    vllm: LoraVllm, policies: Policies, tmp_path: Path
) -> None:
    # The trainer starts again: the same directory, the same version, other weights. The server has
    # been running all the time and still has the first ones.
    path = write_adapter(tmp_path / "1", "the old run")
    assert await policies.reply(version(1, path, at=1)) == "the old run"
    write_adapter(tmp_path / "1", "the new run")
    assert await policies.reply(version(1, path, at=2)) == "the new run"
    assert len({name for name, _ in vllm.loads}) == 2


async def test_loads_of_one_version_are_made_once(
    vllm: LoraVllm, policies: Policies, tmp_path: Path
) -> None:
    policy = version(1, write_adapter(tmp_path / "1", "one"))
    vllm.held = asyncio.Event()
    replies = [asyncio.create_task(policies.reply(policy)) for _ in range(64)]
    await eventually(lambda: len(vllm.loads) == 1)
    # One of them leaves: the others still get what they wait for.
    replies[0].cancel()
    await asyncio.wait(replies[:1])
    vllm.held.set()
    assert await asyncio.gather(*replies[1:]) == ["one"] * 63
    assert await policies.reply(policy) == "one"
    assert len(vllm.loads) == 1


async def test_what_another_simulator_has_loaded_is_used(
    vllm: LoraVllm, policies: Policies, tmp_path: Path
) -> None:
    policy = version(1, write_adapter(tmp_path / "1", "one"))
    another = Policies(vllm)
    assert await another.reply(policy) == "one"
    await another.aclose()
    assert await policies.reply(policy) == "one"
    assert len(vllm.loads) == 2
    # Names are unique, so the other one's adapter is this very version.
    assert list(vllm.adapters) == [adapter_name(policy)]


async def test_a_server_that_restarts_gets_its_adapters_back(
    vllm: LoraVllm, policies: Policies, tmp_path: Path
) -> None:
    policy = version(1, write_adapter(tmp_path / "1", "one"))
    async with policies.models.open(policy) as model:
        assert await ask(model) == "one"
        vllm.restart()
        assert await asyncio.gather(*(ask(model) for _ in range(32))) == ["one"] * 32
        assert len(vllm.loads) == 2
        assert await ask(model) == "one"


async def test_versions_that_nobody_uses_are_unloaded_beyond_the_bound(
    vllm: LoraVllm, tmp_path: Path
) -> None:
    policies = Policies(vllm, max_idle=2)
    versions = [version(n, write_adapter(tmp_path / str(n), f"{n}")) for n in range(6)]
    async with policies.models.open(versions[0]) as used:
        for policy in versions[1:]:
            await policies.reply(policy)
        await eventually(lambda: len(vllm.unloads) == 3)
        assert set(vllm.unloads) == {adapter_name(policy) for policy in versions[1:4]}
        # What is in use stays, however old it is.
        assert await ask(used) == "0"
    # Used again, it is loaded again, under its own name and with its own weights.
    assert await policies.reply(versions[2]) == "2"
    await policies.aclose()


async def test_what_another_simulator_unloads_is_loaded_again(
    vllm: LoraVllm, policies: Policies, tmp_path: Path
) -> None:
    policy = version(1, write_adapter(tmp_path / "1", "one"))
    another = Policies(vllm, max_idle=0)
    async with policies.models.open(policy) as model:
        assert await another.reply(policy) == "one"
        await eventually(lambda: vllm.unloads == [adapter_name(policy)] and not vllm.adapters)
        assert await ask(model) == "one"
    await another.aclose()
