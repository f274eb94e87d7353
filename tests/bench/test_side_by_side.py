"""The model server of the side-by-side benchmark, and the processes that it runs with."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from bench.side_by_side import call_log, reference_worker
from bench.side_by_side.backend import Behaviour, Latency
from bench.side_by_side.bench import request
from bench.side_by_side.call_log import Call
from bench.side_by_side.model_server import Backend, Connection
from bench.side_by_side.processes import ChildFailed, child, ended
from bench.side_by_side.replies import case_of, parent_of
from bench.side_by_side.slots import Place, Slots
from tests.fakes.virtual_time import LoopClock, settle, virtual_time
from tests.fakes.waiting import eventually

AT_ONCE = Latency("fixed", 0.0)


async def test_slots_serve_in_order_of_arrival_as_many_as_there_are() -> None:
    served: dict[str, tuple[float, float]] = {}
    with virtual_time() as clock:
        begin = clock.now()
        slots = Slots(2, clock.now)
        for name, seconds in (("a", 4.0), ("b", 1.0), ("c", 2.0), ("d", 1.0)):
            slots.enter(Place(seconds, note(served, name, begin)))
        assert (slots.busy, slots.waiting) == (2, 2)
        await asyncio.sleep(10)
    assert served == {"b": (0, 1), "c": (1, 3), "a": (0, 4), "d": (3, 4)}
    assert (slots.busy, slots.waiting) == (0, 0)


async def test_a_client_that_leaves_frees_its_slot_or_its_place_in_line() -> None:
    served: dict[str, tuple[float, float]] = {}
    with virtual_time() as clock:
        begin, slots = clock.now(), Slots(1, clock.now)
        places = [Place(4.0, note(served, name, begin)) for name in "abc"]
        for place in places:
            slots.enter(place)
        slots.leave(places[1])
        await asyncio.sleep(1)
        slots.leave(places[0])
        assert (slots.busy, slots.waiting) == (1, 0)
        await asyncio.sleep(10)
    assert served == {"c": (1, 5)}


async def test_no_limit_serves_everything_at_once() -> None:
    served: dict[str, tuple[float, float]] = {}
    with virtual_time() as clock:
        begin, slots = clock.now(), Slots(0, LoopClock().now)
        for number in range(100):
            slots.enter(Place(1.0, note(served, str(number), begin)))
        await settle()
        assert slots.busy == 100
        await asyncio.sleep(2)
    assert set(served.values()) == {(0, 1)}


def note(served: dict[str, tuple[float, float]], name: str, begin: float) -> Any:
    def on_end(start: float, end: float) -> None:
        served[name] = (round(start - begin, 6), round(end - begin, 6))

    return on_end


def test_latencies_are_what_they_are_called() -> None:
    assert Latency("fixed", 200).seconds(0.3) == 0.2
    for shape in ("lognormal", "pareto"):
        latency = Latency(shape, 100)
        drawn = [latency.seconds((n + 0.5) / 20_000) for n in range(20_000)]
        assert drawn == sorted(drawn)
        assert sum(drawn) / len(drawn) == pytest.approx(0.1, rel=0.01)
    assert Latency("pareto", 100).seconds(0.999) > 2 * Latency("lognormal", 100).seconds(0.999)
    assert Latency("pareto", 100).seconds(1 - 1e-15) == 2.0


@asynccontextmanager
async def served(backend: Backend) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(backend), "127.0.0.1", 0)
    async with server, aiohttp.ClientSession() as session:
        yield session, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def chat(role: str, *contents: str, **fields: object) -> dict[str, object]:
    said = [{"role": "user", "content": content} for content in contents]
    return {"model": role, "messages": said, **fields}


async def ask(session: aiohttp.ClientSession, url: str, body: object) -> list[str]:
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        answer = await response.json()
        return [choice["message"]["content"] for choice in answer.get("choices", ())]


async def logged(session: aiohttp.ClientSession, url: str) -> list[Call]:
    async with session.get(f"{url}/log") as response:
        return [Call(*row) for row in await response.json()]


async def test_the_log_links_each_call_to_the_one_that_it_continues() -> None:
    backend = Backend()
    backend.reset(Behaviour(AT_ONCE))
    async with served(backend) as (session, url):
        opening = "Goal. Which equation? (case 12)"
        (first,) = await ask(session, url, chat("user", opening))
        said = json.loads(first)["message"]
        (second,) = await ask(session, url, chat("policy", opening, said))
        (third,) = await ask(session, url, chat("judge", f'"accuracy" {opening} {said} {second}'))
        assert json.loads(third)["accuracy"] in (0, 1)
        calls = await logged(session, url)
        assert [one.role for one in calls] == ["user", "policy", "judge"]
        assert {one.case for one in calls} == {"12"} == {case_of(opening)}
        assert [one.parent for one in calls] == ["", calls[0].tag, calls[1].tag]
        assert parent_of(second) == calls[1].tag
        assert calls[0].characters == len(opening)
        assert all(one.arrival <= one.start <= one.end for one in calls)
        async with session.post(f"{url}/reset", json=Behaviour(AT_ONCE).as_json()) as response:
            assert response.status == 200
        assert await logged(session, url) == []


async def test_the_same_calls_get_the_same_replies_and_a_repeated_one_another() -> None:
    texts = []
    for _ in range(2):
        backend = Backend()
        async with served(backend) as (session, url):
            body = chat("policy", "hello", seed=1)
            texts.append([await ask(session, url, body) for _ in range(2)])
            texts[-1].append(await ask(session, url, chat("policy", "hello", seed=1, n=3)))
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[0][1]
    assert len(set(texts[0][2])) == 3


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ('"current_answer"', {"current_answer", "thought", "response"}),
        ('"done"', {"thought", "message", "done"}),
    ],
)
async def test_either_user_simulator_gets_the_object_that_it_asks_for(
    asked: str, keys: set[str]
) -> None:
    async with served(Backend()) as (session, url):
        (text,) = await ask(session, url, chat("user", asked))
        assert json.loads(text).keys() == keys


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ('"rationale" "accuracy"', "accuracy"),
        ('"thought" "interactivity"', "interactivity"),
        ('"artifact"', "artifact"),
        ('"final_completion"', "final_completion"),
    ],
)
async def test_judges_are_told_apart_by_what_they_are_asked(asked: str, key: str) -> None:
    async with served(Backend()) as (session, url):
        (text,) = await ask(session, url, chat("judge", asked))
        assert json.loads(text).keys() > {key}
        assert await ask(session, url, chat("judge", "What do you think?")) == []


async def test_faults_are_refused_and_counted() -> None:
    backend = Backend()
    backend.reset(Behaviour(AT_ONCE, fault_share=0.4))
    async with served(backend) as (session, url):
        answered = [await ask(session, url, chat("policy", str(n))) for n in range(200)]
        calls = await logged(session, url)
    refused = sum(not texts for texts in answered)
    found = call_log.faults(calls)
    assert found.keys() == {429, 503}
    assert sum(found.values()) == refused == 200 - call_log.good_calls(calls)
    assert 50 < refused < 110


async def test_the_server_tells_what_its_prompts_have_in_common() -> None:
    async with served(Backend()) as (session, url):
        for text in ("abcd", "abxy"):
            await ask(session, url, chat("policy", text))
        async with session.get(f"{url}/prefixes") as response:
            assert await response.json() == [len(b"<user>\nab"), 2 * len(b"<user>\nabcd\n")]


async def test_a_client_that_hangs_up_leaves_no_call_behind() -> None:
    backend = Backend()
    backend.reset(Behaviour(Latency("fixed", 3_600_000.0), slots=1))
    async with served(backend) as (session, url):
        waiting = [asyncio.create_task(ask(session, url, chat("policy", t))) for t in "ab"]
        await eventually(lambda: backend.slots.waiting == 1)
        for task in waiting:
            task.cancel()
        await eventually(lambda: (backend.slots.busy, backend.slots.waiting) == (0, 0))
        assert await logged(session, url) == []


async def test_a_child_that_ends_is_a_failure_and_one_that_runs_is_killed() -> None:
    code = "import sys; sys.stdin.read()"
    async with child("waits", sys.executable, "-c", code) as waits:
        async with child("fails", sys.executable, "-c", "raise SystemExit(3)") as fails:
            with pytest.raises(ChildFailed, match="fails ended: exit status 3"):
                await ended(waits, fails)
        with pytest.raises(ChildFailed, match="fails"):
            await fails.line()
        assert waits.process.returncode is None
        assert waits.resident_mib() >= waits.resident_mib(peak=False) > 0
        assert waits.cpu_seconds() >= 0
    assert waits.process.returncode == -9


def test_both_sides_are_asked_for_the_same() -> None:
    for case in (8, 77):
        ours = request([case])
        theirs = reference_worker.arguments(case, "http://127.0.0.1:1")
        assert theirs["task_desc"] == ours["task"]["description"]
        assert theirs["single_turn_prompt"] == ours["task"]["goal"]
        assert theirs["single_turn_completion"] == ours["task"]["reference"]
        candidate = {"role": "assistant", "content": ours["candidates"][0]}
        assert theirs["chat_history"] == [*ours["prefix"], candidate]
        assert theirs["num_samples"] == ours["simulation"]["samples"]["max"]
        assert theirs["max_new_turns"] == ours["simulation"]["horizon_messages"]
        weighed = zip(theirs["metric_names"], theirs["metric_weights"], strict=True)
        assert dict(weighed) == {m["name"]: m["weight"] for m in ours["objective"]["metrics"]}
        assert case_of(ours["candidates"][0]) == str(case)


def test_the_reference_starts_its_cases_in_order_and_returns_all() -> None:
    begun = []

    def score(case: int) -> tuple[int, float, float]:
        begun.append(case)
        return case, 0.0, 1.0

    assert reference_worker.paced([3, 1, 2], 0.0, score) == [(n, 0.0, 1.0) for n in (3, 1, 2)]
    assert sorted(begun) == [1, 2, 3]
