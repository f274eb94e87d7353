"""Whole runs are recorded and replayed byte for byte, with no model server left to ask."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import foresight
from bench.deployment import serving
from foresight_services.cli.embedded import embedded_client
from foresight_services.config import Config, load_config
from foresight_services.config.recording import RecordingConfig
from tests.e2e.cli_process import foresight as command
from tests.e2e.cli_process import started
from tests.fakes.openai_server import Call, Fault, Reply, Script, error, openai_server
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

GONE = "http://127.0.0.1:1/v1"
"""Where no server is."""

KEY = "sk-this-is-the-secret"

# A token read costs 2^-20 dollars, so that sums of dollars do not depend on their order.
CONFIG = """
models:
  policy: {{backend: openai, base_url: "{url}", model: the-policy, api_key_env: THE_KEY,
            price: {{input: 0.95367431640625, output: 1.9073486328125}},
            retries: {{base_seconds: 0.001, cap_seconds: 0.001}}}}
  user: {{backend: openai, base_url: "{url}", model: the-user, seeds: false, api_key_env: THE_KEY,
          retries: {{base_seconds: 0.001, cap_seconds: 0.001}}}}
  judge: {{backend: openai, base_url: "{url}", model: the-judge, api_key_env: THE_KEY,
           retries: {{base_seconds: 0.001, cap_seconds: 0.001}}}}
"""

REQUEST: dict[str, Any] = {
    "task": {"description": "A person asks for help.", "goal": "the sum of two and two"},
    "prefix": [{"role": "user", "content": "can you add numbers?"}],
    "candidates": ["Sure! Which numbers?", "4.", "No."],
    "objective": {"metrics": [{"name": "success"}, {"name": "token_amount", "weight": -0.5}]},
    "simulation": {"horizon_messages": 4, "samples": {"max": 4}, "seed": 7},
    "include_futures": True,
    "request_id": "same",
}


def unseeded() -> Script:
    """Return a server whose every reply is another, and of which every sixth call fails."""
    numbers = count()

    def play(call: Call) -> Reply | Fault:
        number = next(numbers)
        if number % 6 == 5:
            return error((503, 500, 429)[number // 6 % 3], "in trouble")
        match call.model:
            case "the-user":
                said = {"thought": "hm", "message": f"two and two, {number}", "done": False}
                return Reply(json.dumps(said))
            case "the-judge":
                return Reply(json.dumps({"rationale": "fine", "success": (number * 7 % 11) / 10}))
            case _:
                return Reply(f"It is 4, says {call.model} {'again ' * (number % 5)}({number}).")

    return play


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)


def config(tmp_path: Path, url: str, recording: RecordingConfig | None = None) -> Config:
    path = tmp_path / "foresight.yaml"
    path.write_text(CONFIG.format(url=url))
    return load_config(path, {}).model_copy(update={"recording": recording})


async def record(tmp_path: Path, file: Path, script: Script, *requests: Any) -> list[Any]:
    """Return the rewards of requests, made one after the other, and leave them recorded."""
    async with openai_server(script) as server:
        recording = RecordingConfig(path=str(file), mode="record")
        found = await rewards(config(tmp_path, server.base_url, recording), *requests)
        assert server.calls
        return found


async def replay(tmp_path: Path, file: Path, *requests: Any) -> list[Any]:
    """Return the rewards of requests from the recording alone, without even a key."""
    recording = RecordingConfig(path=str(file), mode="replay")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("THE_KEY", raising=False)
        return await rewards(config(tmp_path, GONE, recording), *requests)


async def rewards(settings: Config, *requests: Any) -> list[Any]:
    async with embedded_client(settings) as client:
        return [await client.send(request) for request in requests]


def exact(value: object) -> object:
    """Return rewards as plain values: floats to the last bit, mappings in order, wall times out."""
    if isinstance(value, foresight.Usage):
        value = dataclasses.replace(value, seconds=0.0)
    if isinstance(value, foresight.MetricInfo):
        # The judge that is gone has another address here, which makes it another one to a cache.
        value = dataclasses.replace(value, identity="")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, exact(getattr(value, field.name))) for field in fields(value)]
    if isinstance(value, foresight.ForesightError):
        return (type(value).__name__, str(value), exact(value.metadata))
    if isinstance(value, Mapping):
        return sorted((str(name), exact(inner)) for name, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [exact(inner) for inner in value]
    return value.hex() if isinstance(value, float) else value


def text(file: Path) -> str:
    return file.read_text()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text(file).splitlines()]


@pytest.mark.usefixtures("key")
async def test_a_run_is_replayed_byte_for_byte_without_its_server(
    tmp_path: Path, file: Path
) -> None:
    (recorded,) = await record(tmp_path, file, unseeded(), REQUEST)
    (replayed,) = await replay(tmp_path, file, REQUEST)
    assert exact(replayed) == exact(recorded)
    assert None not in recorded.values
    assert len(set(recorded.values)) == 3
    # The faults on the way are told, and the retries are in both bills.
    calls = lines(file)[1:]
    faults = [a["outcome"] for call in calls for a in call["attempts"] if a["outcome"] != "ok"]
    assert set(faults) == {"overloaded", "server_error", "rate_limited"}
    retries = sum(usage.retries for usage in replayed.usage.models.values())
    assert retries == len(faults) > 0
    assert KEY not in text(file)
    assert "127.0.0.1" not in text(file)


@pytest.mark.usefixtures("key")
async def test_shared_first_turns_are_recorded_once_and_replayed(
    tmp_path: Path, file: Path
) -> None:
    request = REQUEST | {"simulation": REQUEST["simulation"] | {"personas": ["terse_texter"]}}
    (recorded,) = await record(tmp_path, file, unseeded(), request)
    (replayed,) = await replay(tmp_path, file, request)
    assert exact(replayed) == exact(recorded)
    choices = [line["request"]["choices"] for line in lines(file)[1:]]
    assert sorted(choices, reverse=True)[:4] == [4, 4, 4, 1]
    # One future of each candidate made the call of all; the others paid for their second turn.
    for reward in recorded:
        calls = [future.usage.models["user"].calls for future in reward.futures]
        retries = [future.usage.models["user"].retries for future in reward.futures]
        assert sum(calls) - sum(retries) == 1 + 4


@pytest.mark.usefixtures("key")
async def test_equal_candidates_get_their_own_replies_back(tmp_path: Path, file: Path) -> None:
    """All six calls of the judge are equal in everything, and the first is answered last."""
    waiting: list[asyncio.Event] = []

    async def script(call: Call) -> Reply:
        number = len(waiting)
        waiting.append(asyncio.Event())
        if len(waiting) == 6:
            waiting[-1].set()
        await waiting[number].wait()
        asyncio.get_running_loop().call_later(0.02, waiting[number - 1].set)
        return Reply(json.dumps({"rationale": "fine", "success": number / 10}))

    request = REQUEST | {
        "candidates": ["4.", "4."],
        "objective": {"metrics": [{"name": "success"}]},
        "simulation": {"horizon_messages": 0, "samples": {"max": 3}},
    }
    (recorded,) = await record(tmp_path, file, script, request)
    assert len({line["key"] for line in lines(file)[1:]}) == 1
    assert [line["position"] for line in lines(file)[1:]] == [5, 4, 3, 2, 1, 0]
    assert recorded.values[0] != recorded.values[1]
    (replayed,) = await replay(tmp_path, file, request)
    assert exact(replayed) == exact(recorded)


@pytest.mark.usefixtures("key")
async def test_failures_and_budgets_are_replayed_as_they_were(tmp_path: Path, file: Path) -> None:
    play = unseeded()

    def script(call: Call) -> Any:
        if call.model == "the-policy" and "No." in call.prompt:
            return error(400, "no such luck")
        return play(call)

    asked = (REQUEST, REQUEST | {"budget": {"max_tokens": 15_000}})
    recorded = await record(tmp_path, file, script, *asked)
    replayed = await replay(tmp_path, file, *asked)
    assert list(map(exact, replayed)) == list(map(exact, recorded))
    assert recorded[0].values[2] is None
    assert isinstance(recorded[0][2].futures[0].error, foresight.ModelRejectedError)
    errors = [future.error for reward in recorded[1] for future in reward.futures]
    assert any(isinstance(each, foresight.BudgetExhaustedError) for each in errors)


@pytest.mark.usefixtures("key")
async def test_candidates_in_another_order_keep_their_rewards(tmp_path: Path, file: Path) -> None:
    (recorded,) = await record(tmp_path, file, unseeded(), REQUEST)
    turned = REQUEST | {"candidates": REQUEST["candidates"][::-1]}
    (replayed,) = await replay(tmp_path, file, turned)
    assert replayed.values == recorded.values[::-1]
    assert [f.messages for f in replayed[2].futures] == [f.messages for f in recorded[0].futures]


@pytest.mark.usefixtures("key")
async def test_what_was_not_recorded_fails_and_says_so(tmp_path: Path, file: Path) -> None:
    await record(tmp_path, file, unseeded(), REQUEST)
    other = REQUEST | {"simulation": REQUEST["simulation"] | {"seed": 8}}
    found, again = await replay(tmp_path, file, other, REQUEST)
    assert found.values == [None] * 3
    failure = found[0].futures[0].error
    assert failure is not None
    assert failure.metadata["kind"] == "not_recorded"
    assert "cannot be replayed: it was not recorded (calls.jsonl)" in str(failure)
    assert None not in again.values


@pytest.mark.usefixtures("key")
async def test_a_run_goes_on_where_its_recording_ends(tmp_path: Path, file: Path) -> None:
    # By this seed every sample has a persona of its own, so that no two share a call.
    simulation = REQUEST["simulation"] | {"seed": 3}
    first = REQUEST | {"simulation": simulation | {"samples": {"max": 2}}}
    longer = REQUEST | {"simulation": simulation}
    await record(tmp_path, file, unseeded(), first)
    recording = RecordingConfig(path=str(file), mode="replay_or_record")
    async with openai_server(unseeded()) as server:
        before = len(lines(file)) - 1
        (more,) = await rewards(config(tmp_path, server.base_url, recording), longer)
        # Half of the futures are new.
        answered = sum(call.outcome == "answered" for call in server.calls)
        assert answered >= before
        assert len(lines(file)) - 2 == 2 * before
    (replayed,) = await replay(tmp_path, file, longer)
    for reward, again in zip(more, replayed, strict=True):
        assert [f.messages for f in reward.futures] == [f.messages for f in again.futures]
        assert reward.value == again.value


@pytest.mark.usefixtures("key")
async def test_a_published_version_is_replayed_without_being_reached(
    tmp_path: Path, file: Path
) -> None:
    """Versions are told apart by number; where each was served does not matter any more."""

    def by(version: str) -> Callable[[Call], Reply]:
        def script(call: Call) -> Reply:
            match call.model:
                case "the-user":
                    return Reply(json.dumps({"thought": "", "message": "two", "done": False}))
                case "the-judge":
                    return Reply(json.dumps({"rationale": "fine", "success": 0.5}))
            return Reply(f"said by {version}")

        return script

    async def play(settings: Config, asked: tuple[int, ...], **sources: Any) -> dict[int, Any]:
        async with embedded_client(settings) as client:
            for version, source in ((3, sources["third"]), (4, sources["fourth"])):
                await client.publish_policy(name="policy", version=version, **source)
            return {
                version: await client.send(
                    REQUEST
                    | {
                        "simulation": REQUEST["simulation"]
                        | {"policy": {"name": "policy", "version": version}}
                    }
                )
                for version in asked
            }

    async with openai_server(by("three")) as three, openai_server(by("four")) as four:
        recorded = await play(
            config(tmp_path, three.base_url, RecordingConfig(path=str(file), mode="record")),
            (3, 4),
            third={"endpoint": three.base_url},
            fourth={"endpoint": four.base_url},
        )
    replayed = await play(
        config(tmp_path, GONE, RecordingConfig(path=str(file), mode="replay")),
        (4, 3),
        third={"endpoint": "http://elsewhere:1/v1"},
        fourth={"lora_adapter_path": "/nowhere"},
    )
    for version, said in ((3, "said by three"), (4, "said by four")):
        assert exact(replayed[version]) == exact(recorded[version])
        assert recorded[version][0].futures[0].messages[1].content == said


async def three(tmp_path: Path, url: str, mode: str, env_key: bool) -> tuple[Any, list[Path]]:
    """Return the rewards that three processes give, each with a recording of its own."""
    path = tmp_path / "three.yaml"
    recording = f'recording: {{path: "{tmp_path}/{{service}}.jsonl", mode: {mode}}}\n'
    path.write_text(CONFIG.format(url=url) + recording)
    with pytest.MonkeyPatch.context() as patch:
        if not env_key:
            patch.delenv("THE_KEY", raising=False)
        options = ("--config", str(path))
        async with AsyncExitStack() as stack:
            simulator = await stack.enter_async_context(serving("simulator", *options))
            evaluator = await stack.enter_async_context(serving("evaluator", *options))
            peers = ("--simulator", simulator, "--evaluator", evaluator)
            target = await stack.enter_async_context(serving("reward", *options, *peers))
            client = await stack.enter_async_context(foresight.AsyncClient(target))
            found = await client.send(REQUEST)
    return found, [tmp_path / f"{name}.jsonl" for name in ("simulator", "evaluator")]


@pytest.mark.usefixtures("key")
async def test_three_processes_record_and_replay_each_its_own(tmp_path: Path, file: Path) -> None:
    """They are killed, not stopped, so every line was written when the rewards were there."""
    async with openai_server(unseeded()) as server:
        recorded, files = await three(tmp_path, server.base_url, "record", env_key=True)
    replayed, _ = await three(tmp_path, GONE, "replay", env_key=False)
    assert exact(replayed) == exact(recorded)
    roles = [{line["request"]["role"] for line in lines(each)[1:]} for each in files]
    assert roles == [{"user", "policy"}, {"judge"}]
    assert not (tmp_path / "reward.jsonl").exists()
    # One process replays what two have recorded.
    await asyncio.to_thread(file.write_text, "".join(map(text, files)))
    (embedded,) = await replay(tmp_path, file, REQUEST)
    assert exact(embedded) == exact(recorded)


async def test_rules_of_a_world_are_recorded_and_replayed_too(tmp_path: Path, file: Path) -> None:
    request = {
        "task": {"preset": "twenty_questions"},
        "prefix": [{"role": "user", "content": "Let's play 20 Questions! You have 6 turns."}],
        "candidates": ["Is it alive?", "Is it a bell?"],
        "simulation": {"samples": {"max": 16}, "horizon_messages": 8},
        "include_futures": True,
        "request_id": "same",
    }
    found = [
        (await rewards(Config(recording=RecordingConfig(path=str(file), mode=mode)), request))[0]
        for mode in ("record", "replay")
    ]
    assert exact(found[0]) == exact(found[1])
    assert len(lines(file)) > 2 * 16


def score(tmp_path: Path, url: str, *options: str, env: dict[str, str] | None = None) -> Any:
    (tmp_path / "foresight.yaml").write_text(CONFIG.format(url=url))
    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    arguments = ("score", tmp_path / "request.json", "--config", tmp_path / "foresight.yaml")
    return command(*arguments, "--json", *options, env=env)


def untimed(text: str) -> Any:
    """Return a document without times, and without what depends on the judge's address."""
    left_out = ("seconds", "identity")
    return json.loads(text, object_hook=lambda o: {k: v for k, v in o.items() if k not in left_out})


async def test_score_records_and_replays_in_processes_of_its_own(
    tmp_path: Path, file: Path
) -> None:
    async with openai_server(unseeded()) as server:
        recorded = await asyncio.to_thread(
            score, tmp_path, server.base_url, "--record", str(file), env={"THE_KEY": KEY}
        )
    assert (recorded.returncode, recorded.stderr) == (0, "")
    replayed = await asyncio.to_thread(score, tmp_path, GONE, "--replay", str(file))
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert untimed(replayed.stdout) == untimed(recorded.stdout)
    other = await asyncio.to_thread(score, tmp_path, GONE, "--replay", str(file), "--seed", "8")
    assert other.returncode == 1
    assert "cannot be replayed: it was not recorded" in other.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--record", "{file}"), "--record: {file} exists; a recording of one run is a new file"),
        (("--record", "x", "--replay", "y"), "--record: cannot be combined with --replay"),
        (
            ("--replay", "{file}", "--target", "127.0.0.1:1"),
            "--replay: cannot be combined with --target, which has its own models",
        ),
        (("--record", "x", "--target", "127.0.0.1:1"), "--record: cannot be combined with --targ"),
        (("--replay", "{file}"), "recording.path: {file}, line 1: is not the header of a rec"),
        (("--replay", "{file}.none"), "recording.path: {file}.none: cannot be used: No such file"),
        (("--record", "{file}/x"), "recording.path: {file}/x: cannot be used: Not a directory"),
    ],
)
def test_score_tells_what_is_wrong_with_a_recording_in_one_line(
    file: Path, options: tuple[str, ...], said: str
) -> None:
    file.write_text("id,text\n")
    given = [option.format(file=file) for option in options]
    ran = command("score", "--task", "twenty_questions", *given)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith(said.format(file=file))
    assert ran.stderr.count("\n") == 1
    assert file.read_text() == "id,text\n"


async def test_a_run_that_is_killed_leaves_what_it_had_recorded(tmp_path: Path, file: Path) -> None:
    """The calls that were made until then are answered from the file, and the rest is made."""
    enough = asyncio.Event()
    never = asyncio.Event()
    play = unseeded()

    async def script(call: Call) -> Any:
        if call.number >= 20:
            enough.set()
            await never.wait()
        return play(call)

    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    async with openai_server(script) as server:
        (tmp_path / "foresight.yaml").write_text(CONFIG.format(url=server.base_url))
        arguments = ("--config", tmp_path / "foresight.yaml", "--record", file)
        environment = {"THE_KEY": KEY}
        with started("score", tmp_path / "request.json", *arguments, env=environment) as running:
            await asyncio.wait_for(enough.wait(), 60)
            await eventually(lambda: text(file).count("\n") > 10)
            running.process.kill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THE_KEY", KEY)
        recording = RecordingConfig(path=str(file), mode="replay_or_record")
        async with openai_server(unseeded()) as server:
            (more,) = await rewards(config(tmp_path, server.base_url, recording), REQUEST)
            assert None not in more.values
    (replayed,) = await replay(tmp_path, file, REQUEST)
    assert replayed.values == more.values
