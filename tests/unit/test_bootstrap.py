"""What the composition root makes of a configuration of served models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from foresight_services.bootstrap import Models, MonotonicClock, check
from foresight_services.bootstrap.backends import Backends
from foresight_services.config import parse_config
from foresight_services.config.models import VllmModelConfig
from foresight_services.core.errors import InvalidInput
from foresight_services.core.published import SourceKind
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.vllm_engine import VllmModel
from foresight_services.telemetry.inert import InertTelemetry
from foresight_services.worlds.registry import make_worlds

SERVED = """
models:
  policy: {backend: openai, base_url: "http://127.0.0.1:1/v1", model: p, lora_adapters: true}
  twin: {backend: openai, base_url: "http://127.0.0.1:1/v1", model: q}
  user: {backend: openai, base_url: "http://127.0.0.1:2/v1", model: u}
  judge: {backend: builtin}
"""


def wrong(text: str) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        check(parse_config(text))
    return {v.field: v.description for v in refused.value.violations}


@pytest.fixture
async def make() -> AsyncIterator[Callable[[str], Models]]:
    made: list[Models] = []

    def models(text: str) -> Models:
        made.append(Models(parse_config(text), make_worlds(), MonotonicClock(), InertTelemetry()))
        return made[-1]

    yield models
    for each in made:
        await each.aclose()


async def test_models_at_one_place_share_its_gates(make: Callable[[str], Models]) -> None:
    models = make(SERVED)
    models.policies()
    models.user(models.personas())
    assert sorted(models._gates) == ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]


async def test_a_served_user_has_personas_and_rules_have_none(
    make: Callable[[str], Models],
) -> None:
    assert make(SERVED).personas() is not None
    assert make("{}").personas() is None


async def test_published_sources_follow_the_backend() -> None:
    config, backends = parse_config(SERVED), Backends(MonotonicClock())

    def kinds(name: str) -> set[SourceKind]:
        return set(
            backends.openers(
                name,
                config.models[name],
                decorate=lambda model, place, policy: model,
                load_timeout_seconds=1.0,
            )
        )

    assert kinds("policy") == set(SourceKind)
    assert kinds("twin") == set(SourceKind) - {SourceKind.LORA_ADAPTER_PATH}
    assert kinds("judge") == set()
    await backends.aclose()


def test_what_a_section_refers_to_must_be_there(tmp_path: Path) -> None:
    keyed = SERVED.replace("model: u", "model: u, api_key_env: NO_SUCH_KEY_IS_SET")
    assert "not set" in wrong(keyed)["models.user.api_key_env"]
    assert (
        "did you mean 'user_system'"
        in wrong(f"{SERVED}prompts: {{user_sytem: a}}")["prompts.user_sytem"]
    )
    styled = f"{SERVED}evaluator: {{transcripts: {{acuracy: json}}}}"
    assert "did you mean 'accuracy'" in wrong(styled)["evaluator.transcripts.acuracy"]
    remote = "{target: 'a:1', metrics: [m], token_env: NO_SUCH, tls_ca_path: /no/such.pem}"
    found = wrong(f"{SERVED}evaluator: {{remotes: {{other: {remote}}}}}")
    assert "NO_SUCH is not set" in found["evaluator.remotes.other.token_env"]
    assert "/no/such.pem cannot be read" in found["evaluator.remotes.other.tls_ca_path"]
    twice = "{one: {target: 'a:1', metrics: [m]}, two: {target: 'a:2', metrics: [m]}}"
    assert wrong(f"{SERVED}evaluator: {{remotes: {twice}}}")
    assert "tasks_path" in wrong(f"{SERVED}tasks_path: {tmp_path / 'none'}")
    missing = tmp_path / "missing.txt"
    assert str(missing) in " ".join(wrong(f"{SERVED}prompts: {{user_task: {missing}}}").values())


async def test_an_engine_that_does_not_start_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def start(self: VllmModel) -> None:
        raise ModelFault(FaultKind.BAD_REQUEST, "policy", "no such weights")

    monkeypatch.setattr(VllmModel, "start", start)
    backends = Backends(MonotonicClock())
    backends.get("policy", VllmModelConfig(backend="vllm", model="nowhere"))
    with pytest.raises(InvalidInput) as refused:
        await backends.start()
    assert refused.value.violations[0].field == "models.policy"
    assert "no such weights" in refused.value.violations[0].description
