"""Every scenario that ships, from its name to rewards, by models that answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foresight_services.cli.embedded import embedded_client
from foresight_services.cli.request_file import Overrides, read_request
from foresight_services.cli.scenario_option import choose_scenario
from foresight_services.config import load_config
from foresight_services.tasks.presets import shipped_scenarios
from tests.fakes.openai_server import Call, Reply, openai_server

pytestmark = pytest.mark.e2e

CONFIG = """
models:
  policy: {{backend: openai, base_url: "{url}", model: the-policy}}
  user: {{backend: openai, base_url: "{url}", model: the-user}}
  judge: {{backend: openai, base_url: "{url}", model: the-judge}}
"""

SOLUTIONS = {
    "task_func(names)": (
        "def task_func(names):\n"
        "    if names is None:\n"
        "        raise TypeError\n"
        "    kept = {}\n"
        "    for name in names:\n"
        "        kept.setdefault(name.strip().casefold(), name.strip())\n"
        "    return list(kept.values())\n"
    ),
    "task_func(text, width)": (
        "def task_func(text, width):\n"
        "    if width < 1:\n"
        "        raise ValueError\n"
        "    lines = []\n"
        "    for word in text.split():\n"
        "        if lines and len(lines[-1]) + 1 + len(word) <= width:\n"
        "            lines[-1] += ' ' + word\n"
        "        else:\n"
        "            lines.append(word)\n"
        "    return lines\n"
    ),
}


def play(call: Call) -> Reply:
    """Answer in the shape that is asked for: half of the way up for every number."""
    if call.model == "the-policy":
        return Reply(f"One more question ({call.seed})?")
    schema = call.body["response_format"]["json_schema"]["schema"]
    fields = {name: _value(name, kind) for name, kind in schema["properties"].items()}
    if call.model == "the-user":
        fields["message"] = f"what about {call.seed}"
    if "artifact" in fields:
        fields["artifact"] = next(
            (code for name, code in SOLUTIONS.items() if name in call.prompt), "an artifact"
        )
    return Reply(json.dumps(fields))


def _value(name: str, kind: dict[str, Any]) -> Any:
    return {"string": f"some {name}", "number": 0.5, "boolean": False}[kind["type"]]


@pytest.mark.parametrize("example", [1, 2])
@pytest.mark.parametrize("name", sorted(set(shipped_scenarios()) - {"groceries"}))
async def test_a_scenario_gives_rewards(name: str, example: int, tmp_path: Path) -> None:
    scenario = choose_scenario(name, example=example, folder="", remote=False)
    request = read_request(None, Overrides(samples=2), scenario)
    async with openai_server(play) as server:
        file = tmp_path / "foresight.yaml"
        # The worlds' goals are drawn by their rules, so their user is one.
        text = "" if request.task.preset == "twenty_questions" else CONFIG
        file.write_text(text.format(url=server.base_url))
        async with embedded_client(load_config(file, {})) as client:
            rewards = await client.send(request)
    preset = shipped_scenarios()[name].preset
    for reward in rewards:
        assert (reward.status, reward.n_ok) == ("complete", 2), reward.error
        assert list(reward.metrics) == [spec.title for spec in preset.objective.metrics]
    assert rewards.profile == preset.objective.profile


async def test_the_code_scenario_runs_the_tests(tmp_path: Path) -> None:
    """Its examples' own tests pass with a right solution and fail without one."""
    for example in (1, 2):
        scenario = choose_scenario("code_generation", example=example, folder="", remote=False)
        request = read_request(None, Overrides(samples=1, horizon=0), scenario)
        request.include_futures = True
        async with openai_server(_with_code_from_the_reply) as server:
            file = tmp_path / "foresight.yaml"
            file.write_text(CONFIG.format(url=server.base_url))
            async with embedded_client(load_config(file, {})) as client:
                request.candidates.append(list(SOLUTIONS.values())[example - 1])
                rewards = await client.send(request)
        assert [reward.metrics["pass_rate"].mean for reward in rewards] == [0.0, 0.0, 1.0]


def _with_code_from_the_reply(call: Call) -> Reply:
    """Extract what the assistant said last, whatever it is."""
    if "artifact" not in call.body["response_format"]["json_schema"]["schema"]["properties"]:
        return play(call)
    said = call.prompt.rpartition("<turn ai>\n")[2].partition("\n</conversation>")[0]
    return Reply(json.dumps({"thought": "the last one", "artifact": said}))
