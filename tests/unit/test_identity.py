"""Fingerprints: what determines futures and scores changes them, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from foresight_services.bootstrap import build_models, build_simulator
from foresight_services.bootstrap.identity import tool_identities
from foresight_services.config import Config
from foresight_services.core.objective import MetricSpec
from foresight_services.core.task import PolicyRef
from foresight_services.metrics.catalog import SHIPPED
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from foresight_services.models.builtin import BuiltinModel
from foresight_services.telemetry.inert import InertTelemetry
from tests.fakes.virtual_time import LoopClock

PERSONAS = resources.files("foresight_services.simulator.prompting").joinpath("personas.yaml")

MODEL = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}


def config(**fields: Any) -> Config:
    models = {name: dict(MODEL) for name in ("policy", "user", "judge", "other")}
    given: dict[str, Any] = {"models": models, **fields}
    return Config.model_validate(given)


def with_model(name: str, **fields: Any) -> dict[str, Any]:
    models = {name: dict(MODEL) for name in ("policy", "user", "judge", "other")}
    models[name] = {**models[name], **fields}
    return {"models": models}


async def fingerprint(settings: Config, policy: str = "policy") -> str:
    return await build_simulator(settings, LoopClock(), InertTelemetry()).fingerprint(
        PolicyRef(policy)
    )


def identities(settings: Config) -> dict[str, str]:
    judge, _ = build_models(settings, LoopClock(), InertTelemetry()).judge()
    return {str(name): value for name, value in tool_identities(settings, judge).items()}


FUTURES_CHANGE = {
    "model of the policy": with_model("policy", model="n"),
    "address of the policy": with_model("policy", base_url="http://127.0.0.1:8/v1"),
    "temperature of the user": with_model("user", temperature=0.1),
    "further fields of a request": with_model("user", extra_body={"min_p": 0.1}),
    "structured replies": with_model("user", structured=False),
    "signal": {"simulator": {"termination_signal": "BYE"}},
    "transcript": {"simulator": {"transcript": "plain"}},
    "no context": {"simulator": {"on_context_exhausted": "exclude"}},
    "world": {"worlds": {"twenty_questions": {"error_rate": 0.1}}},
}

FUTURES_STAY = {
    "judge": with_model("judge", model="n"),
    "another policy": with_model("other", model="n"),
    "limits": with_model("policy", limits={"max_concurrency": 3}),
    "retries": with_model("user", retries={"per_request": 3}, timeout_seconds=5.0),
    "price": with_model("policy", price={"input": 1.0, "output": 2.0}),
    "futures at once": {"simulator": {"max_futures": 7}},
    "default written out": with_model("policy", temperature=1.0),
    "cache": {"cache": {"ttl_seconds": 60.0}},
}


@pytest.mark.parametrize("fields", FUTURES_CHANGE.values(), ids=FUTURES_CHANGE)
async def test_a_fingerprint_changes_with(fields: dict[str, Any]) -> None:
    assert await fingerprint(config(**fields)) != await fingerprint(config())


@pytest.mark.parametrize("fields", FUTURES_STAY.values(), ids=FUTURES_STAY)
async def test_a_fingerprint_does_not_change_with(fields: dict[str, Any]) -> None:
    assert await fingerprint(config(**fields)) == await fingerprint(config())


async def test_every_policy_has_its_own_fingerprint() -> None:
    fields = with_model("other", model="n")
    assert await fingerprint(config(**fields), "other") != await fingerprint(config(**fields))
    # What was published under a name of its own is played as the default policy.
    assert await fingerprint(config(**fields), "mine") == await fingerprint(config(**fields))


@pytest.mark.parametrize("name", ["user_system", "policy_system"])
async def test_a_prompt_changes_futures_and_leaves_scores(name: str, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("Be brief.")
    changed = config(prompts={name: str(file)})
    assert await fingerprint(changed) != await fingerprint(config())
    assert identities(changed) == identities(config())


async def test_personas_change_futures(tmp_path: Path) -> None:
    file = tmp_path / "personas.yaml"
    file.write_text(PERSONAS.read_text("utf-8") + "\n# and a word more\n")
    changed = config(simulator={"personas_path": str(file)})
    assert await fingerprint(changed) != await fingerprint(config())


JUDGE_CHANGES = {
    "model": with_model("judge", model="n"),
    "temperature": with_model("judge", temperature=0.0),
    "transcript": {"evaluator": {"transcripts": {"accuracy": "plain"}}},
}


@pytest.mark.parametrize("fields", JUDGE_CHANGES.values(), ids=JUDGE_CHANGES)
async def test_a_judge_changes_scores_and_leaves_futures(fields: dict[str, Any]) -> None:
    before, after = identities(config()), identities(config(**fields))
    assert {name for name in before if before[name] != after[name]} == {"judge"}
    assert await fingerprint(config(**fields)) == await fingerprint(config())


async def test_a_tokenizers_content_counts(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    settings = config(evaluator={"tokenizers": {"mine": str(file)}})
    file.write_text("{}")
    before = identities(settings)
    file.write_text("[]")
    after = identities(settings)
    assert {name for name in before if before[name] != after[name]} == {"token_counters"}


def test_digests_are_the_same_in_every_process() -> None:
    program = """
import asyncio
from tests.unit.test_identity import config, fingerprint, identities

async def tell():
    print(await fingerprint(config()), sorted(identities(config()).items()))

asyncio.run(tell())
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


TOOLS = Tools(
    judge=RuledJudge(BuiltinModel({})),
    token_counters=Tokenizers({}),
    identities={
        "judge": "j",
        "token_counters": "t",
        "sandbox": "s",
        "reward_models": "r",
        "bertscore": "b",
    },
)


def identity(name: str, tools: Tools = TOOLS, *, artifact: str = "", **parameters: Any) -> str:
    definition = SHIPPED[name]
    return definition.identity(MetricSpec(name, 1.0, artifact, parameters), "", tools)


def test_a_default_written_out_changes_nothing() -> None:
    assert identity("accuracy", votes=1) == identity("accuracy")
    assert identity("accuracy", votes=1.0) == identity("accuracy")
    assert identity("accuracy", votes=3) != identity("accuracy")
    assert identity("accuracy", requirement="") == identity("accuracy")
    defaults: dict[str, Any] = {
        "scope": "assistant",
        "output": "tokens",
        "unit": "thousand",
        "tokenizer": "cl100k",
    }
    assert identity("token_amount", **defaults) == identity("token_amount")
    others: dict[str, Any] = {"scope": "all", "output": "turns", "tokenizer": "words"}
    for key, other in others.items():
        assert identity("token_amount", **{key: other}) != identity("token_amount")


def test_a_metric_depends_on_what_it_uses() -> None:
    other = dict(TOOLS.identities) | {"judge": "another"}
    changed = Tools(judge=TOOLS.judge, token_counters=TOOLS.token_counters, identities=other)
    assert identity("success", changed) != identity("success")
    assert identity("messages", changed) == identity("messages")
    assert identity("token_amount", changed) == identity("token_amount")


def test_an_artifact_is_the_judges() -> None:
    other = dict(TOOLS.identities) | {"judge": "another"}
    changed = Tools(judge=TOOLS.judge, token_counters=TOOLS.token_counters, identities=other)
    assert identity("accuracy", artifact="answer") != identity("accuracy")
    plain = Definition("plain", lambda *given: None, artifact=True, uses=frozenset())  # type: ignore[arg-type]
    for artifact, same in (("", True), ("answer", False)):
        spec = MetricSpec("plain", 1.0, artifact)
        found = plain.identity(spec, "", changed) == plain.identity(spec, "", TOOLS)
        assert found is same


def test_what_says_nothing_of_its_tools_depends_on_all_of_them() -> None:
    unknown = Definition("mine", lambda *given: None)  # type: ignore[arg-type]
    spec = MetricSpec("mine")
    for name in TOOLS.identities:
        other = dict(TOOLS.identities) | {name: "another"}
        changed = Tools(judge=TOOLS.judge, token_counters=TOOLS.token_counters, identities=other)
        assert unknown.identity(spec, "", changed) != unknown.identity(spec, "", TOOLS)
    assert unknown.identity(spec, "x", TOOLS) != unknown.identity(spec, "", TOOLS)


def test_a_tool_that_is_not_known_leaves_no_identity() -> None:
    without = Tools(judge=TOOLS.judge, token_counters=TOOLS.token_counters)
    assert identity("success", without) == ""
    only = Tools(
        judge=TOOLS.judge, token_counters=TOOLS.token_counters, identities={"token_counters": "t"}
    )
    assert identity("success", only) == ""
    assert identity("token_amount", only) != ""
