"""Files edited while a process runs, and packages that are replaced, leave no old values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foresight_services.bootstrap import build_models
from foresight_services.config import Config
from foresight_services.core.errors import Precondition
from foresight_services.core.objective import MetricSpec
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.task import PolicyRef
from foresight_services.metrics.catalog import SHIPPED
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from foresight_services.models.builtin import BuiltinModel
from foresight_services.simulator.prompting.policy import PromptedPolicy
from foresight_services.telemetry.inert import InertTelemetry
from tests.fakes.virtual_time import LoopClock

MODEL = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
VERSION = PublishedPolicy(
    PolicyRef("policy", 1), PolicySource(SourceKind.ENDPOINT, "http://127.0.0.1:9/v1"), 1
)


async def test_a_version_that_is_opened_later_is_prompted_as_the_fingerprint_says(
    tmp_path: Path,
) -> None:
    file = tmp_path / "policy_system.txt"
    file.write_text("Be brief.")
    models: dict[str, Any] = {name: MODEL for name in ("policy", "user", "judge")}
    config = Config.model_validate({"models": models, "prompts": {"policy_system": str(file)}})
    built = build_models(config, LoopClock(), InertTelemetry())
    published = built.published()
    told = built.policy_prompts
    file.write_text("Be long.")
    async with published.open(VERSION) as model:
        assert isinstance(model, PromptedPolicy)
        assert model._prompts.digest == told == built.policy_prompts
    await built.aclose()


def test_a_tokenizer_that_was_replaced_in_use_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    tokenizers = Tokenizers({"mine": str(file)})
    file.write_text("[]")
    with pytest.raises(Precondition, match="has changed"):
        tokenizers.get("mine")


TOOLS = Tools(
    judge=RuledJudge(BuiltinModel({})),
    token_counters=Tokenizers({}),
    identities={"judge": "j"},
)


@pytest.mark.parametrize(
    ("metric", "library"),
    [
        ("math_equal", "math-verify"),
        ("math_equal", "sympy"),
        ("rouge", "rouge_score"),
        ("json_schema", "jsonschema"),
        ("regex", "google-re2"),
    ],
)
def test_another_version_of_its_library_is_another_metric(
    monkeypatch: pytest.MonkeyPatch, metric: str, library: str
) -> None:
    definition, spec = SHIPPED[metric], MetricSpec(metric)
    before = definition.identity(spec, "", TOOLS)
    monkeypatch.setattr(
        "foresight_services.core.cachekey._version",
        lambda name: "99.0" if name == library else "1.0",
    )
    newer = definition.identity(spec, "", TOOLS)
    monkeypatch.setattr("foresight_services.core.cachekey._version", lambda name: "1.0")
    assert before and newer != definition.identity(spec, "", TOOLS)
