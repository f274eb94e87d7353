"""Which adapters stay in memory, with an engine that only notes what it is told."""

from __future__ import annotations

import asyncio

import pytest

from foresight_services.models.vllm_adapters import AdapterShelf


class Engine:
    """Loads what it is told to, once its gate is open, and knows what it holds."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.loads: list[str] = []
        self.gone: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, adapter: str) -> None:
        await self.gate.wait()
        if adapter in self.gone:
            raise FileNotFoundError(adapter)
        self.loads.append(adapter)
        self.held.add(int(adapter))

    async def unload(self, number: int) -> None:
        self.held.remove(number)

    def shelf(self, capacity: int) -> AdapterShelf[str]:
        return AdapterShelf(capacity, load=self.load, unload=self.unload)


async def use(shelf: AdapterShelf[str], number: int) -> None:
    """Use an adapter for a moment."""
    async with shelf.holding(number, str(number)):
        assert number in shelf.loaded


async def rest() -> None:
    """Let every task go on until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_adapter_is_loaded_once() -> None:
    engine = Engine()
    shelf = engine.shelf(2)
    await asyncio.gather(*(use(shelf, 1) for _ in range(10)))
    assert engine.loads == ["1"]


async def test_the_least_recently_used_one_makes_room() -> None:
    engine = Engine()
    shelf = engine.shelf(2)
    for number in (1, 2, 1, 3):
        await use(shelf, number)
    assert engine.held == {1, 3} == set(shelf.loaded)


async def test_what_is_in_use_stays_and_newcomers_wait_in_line() -> None:
    engine = Engine()
    shelf = engine.shelf(2)
    async with shelf.holding(1, "1"):
        async with shelf.holding(2, "2"):
            third = asyncio.create_task(use(shelf, 3))
            await rest()
            # A call for a loaded adapter that came later does not keep the place from it.
            again = asyncio.create_task(use(shelf, 2))
            await rest()
            assert engine.held == {1, 2}
            assert not third.done() and not again.done()
        await third
        await again
        assert 1 in engine.held
    assert len(engine.held) == 2


async def test_a_failed_load_fails_its_own_call_alone() -> None:
    engine = Engine()
    shelf = engine.shelf(1)
    engine.gone.add("1")
    with pytest.raises(FileNotFoundError):
        await use(shelf, 1)
    await use(shelf, 2)
    engine.gone.clear()
    await use(shelf, 1)
    assert engine.held == {1}


async def test_a_cancelled_load_is_not_forgotten() -> None:
    engine = Engine()
    shelf = engine.shelf(1)
    engine.gate.clear()
    call = asyncio.create_task(use(shelf, 1))
    await rest()
    call.cancel()
    engine.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert engine.held == {1} == set(shelf.loaded)
    await use(shelf, 2)
    assert engine.held == {2}


async def test_a_cancelled_wait_lets_the_next_one_go_on() -> None:
    engine = Engine()
    shelf = engine.shelf(1)
    async with shelf.holding(1, "1"):
        waiting = [asyncio.create_task(use(shelf, number)) for number in (2, 3)]
        await rest()
        waiting[0].cancel()
        await rest()
    await waiting[1]
    assert engine.held == {3}
