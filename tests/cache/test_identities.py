"""Another library, or a setting that nobody looked at, makes other values."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any, get_args

import pytest

from foresight_services.bootstrap import build_models, build_simulator
from foresight_services.bootstrap.identity import OPERATIONAL, tool_identities
from foresight_services.config import Config
from foresight_services.config.evaluator import (
    BertScoreConfig,
    EvaluatorConfig,
    RewardModelConfig,
    SandboxConfig,
)
from foresight_services.config.models import ModelConfig
from foresight_services.config.root import (
    RolesConfig,
    SimulatorConfig,
    TwentyQuestionsConfig,
    WorldsConfig,
)
from foresight_services.config.section import Section
from foresight_services.core.cachekey import installed
from foresight_services.core.task import PolicyRef
from foresight_services.telemetry.inert import InertTelemetry
from tests.fakes.virtual_time import LoopClock

OPENAI = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
LITELLM = {"backend": "litellm", "model": "openai/m"}
TORCH = {"backend": "torch", "model": "m"}
SERVER = {"backend": "vllm", "model": "m", "base_url": "http://127.0.0.1:9"}

SETTINGS: dict[str, dict[str, Any]] = {
    "openai": {"models": {name: OPENAI for name in ("policy", "user", "judge")}},
    "litellm": {"models": {name: LITELLM for name in ("policy", "user", "judge")}},
    "torch": {"evaluator": {"reward_models": {"one": TORCH}}},
    "bertscore": {"evaluator": {"bertscore": {"model": "m", "layers": 3}}},
}


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Return the libraries that are installed in another version."""
    changed: set[str] = set()

    def version(name: str) -> str | None:
        if name in changed:
            return "99.0"
        try:
            return version_of(name)
        except PackageNotFoundError:
            return None

    monkeypatch.setattr("foresight_services.core.cachekey._version", version)
    yield changed


async def told(fields: dict[str, Any]) -> dict[str, str]:
    """Return everything that determines futures and scores, by its name."""
    config = Config.model_validate(fields)
    judge, _ = build_models(config, LoopClock(), InertTelemetry()).judge()
    simulator = build_simulator(config, LoopClock(), InertTelemetry())
    tools = {str(name): value for name, value in tool_identities(config, judge).items()}
    return {"futures": await simulator.fingerprint(PolicyRef()), **tools}


@pytest.mark.parametrize(
    ("settings", "library", "affected"),
    [
        ("openai", "litellm", set()),
        ("openai", "tiktoken", {"token_counters"}),
        ("openai", "tokenizers", {"token_counters"}),
        ("litellm", "litellm", {"futures", "judge"}),
        ("torch", "torch", {"reward_models"}),
        ("torch", "transformers", {"reward_models"}),
        ("bertscore", "transformers", {"bertscore"}),
    ],
)
async def test_another_version_of_a_library_makes_other_values(
    newer: set[str], settings: str, library: str, affected: set[str]
) -> None:
    before = await told(SETTINGS[settings])
    newer.add(library)
    after = await told(SETTINGS[settings])
    assert {name for name in before if before[name] != after[name]} == affected


async def test_another_interpreter_runs_code_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    before = await told({})
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert (await told({}))["sandbox"] != before["sandbox"]
    python = tmp_path / "python"
    own = {"evaluator": {"sandbox": {"python": str(python)}}}
    python.write_bytes(b"one")
    one = await told(own)
    python.write_bytes(b"other")
    assert (await told(own))["sandbox"] != one["sandbox"]


def test_what_is_not_installed_is_known_not_to_be() -> None:
    found = installed(("pytest", "no-such-package"))
    assert found["pytest"] and found["no-such-package"] is None


SERVED = {
    *("limits", "retries", "hedging", "breaker", "price"),
}
LEFT_OUT: dict[str, set[str]] = {
    "builtin": set(),
    "openai": SERVED
    | {"api_key_env", "timeout_seconds", "connect_timeout_seconds", "max_connections"},
    "litellm": SERVED | {"api_key_env", "timeout_seconds"},
    "vllm": SERVED | {"gpu_memory_utilization", "kv_cache_bytes", "max_loras"},
    "trl": SERVED | {"timeout_seconds"},
    "RewardModelConfig": {
        *("api_key_env", "device", "batch_size", "timeout_seconds", "max_concurrency"),
    },
    "BertScoreConfig": {"device"},
    "SandboxConfig": {"max_concurrency"},
}
"""Settings that change when and at what cost something is computed, by section, looked at one by
one: a name that changes nothing in one section may change what is computed in another."""


def backend_of(section: type[Section]) -> str:
    return str(get_args(section.model_fields["backend"].annotation)[0])


SECTIONS: dict[str, type[Section]] = {
    **{backend_of(section): section for section in get_args(get_args(ModelConfig)[0])},
    **{one.__name__: one for one in (RewardModelConfig, BertScoreConfig, SandboxConfig)},
}


@pytest.mark.parametrize("name", SECTIONS)
def test_nothing_is_left_out_that_nobody_looked_at(name: str) -> None:
    assert set(SECTIONS[name].model_fields) & OPERATIONAL == LEFT_OUT[name]


HANDLED: dict[type[Section], set[str]] = {
    Config: {
        # In fingerprints and identities.
        *("models", "roles", "worlds", "simulator", "evaluator", "prompts"),
        # What they make of a request is in its keys.
        "tasks_path",
        # They change nothing; while calls are recorded there is no cache.
        *("prices", "cache", "services", "recording", "token"),
    },
    RolesConfig: {"user", "judge"},
    WorldsConfig: {"twenty_questions"},
    TwentyQuestionsConfig: {"error_rate", "knowledge_path"},
    SimulatorConfig: {
        *("termination_signal", "personas_path", "on_context_exhausted", "transcript"),
        # They change nothing.
        *("max_futures", "max_waiting_futures", "max_idle_policies", "lora_load_timeout_seconds"),
    },
    EvaluatorConfig: {
        *("transcripts", "max_artifact_tokens", "sandbox", "tokenizers", "reward_models"),
        "bertscore",
        # More attempts make scores of failures, which are not stored.
        "judge_attempts",
        # Each remote evaluator tells its own; which metrics there are is part of no score.
        *("remotes", "plugins"),
    },
}


@pytest.mark.parametrize("section", HANDLED, ids=lambda section: section.__name__)
def test_a_new_setting_is_looked_at(section: type[Section]) -> None:
    # A setting that determines futures or scores must be put into their identity.
    assert set(section.model_fields) == HANDLED[section]
