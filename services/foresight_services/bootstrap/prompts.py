"""The files that replace prompts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from foresight_services.config import Config
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.ports import ModelRole
from foresight_services.core.suggest import one_of
from foresight_services.metrics.judging.prompted import JUDGE_PROMPTS, QUESTIONS
from foresight_services.simulator.prompting.policy import POLICY_PROMPTS
from foresight_services.simulator.prompting.user import USER_PROMPTS


def prompt_files(config: Config) -> Mapping[ModelRole, Mapping[str, Path]]:
    """Return the files that replace prompts, by the role whose prompts they are."""
    parts: dict[ModelRole, set[str]] = {
        "user": {spec.name for spec in USER_PROMPTS},
        "policy": {spec.name for spec in POLICY_PROMPTS},
        "judge": {spec.name for spec in JUDGE_PROMPTS},
    }
    known = set().union(*parts.values())
    unknown = [
        Violation(f"prompts.{name}", one_of(name, known))
        for name in config.prompts
        if name not in known
    ]
    unknown += [
        Violation(f"evaluator.transcripts.{name}", one_of(name, QUESTIONS))
        for name in config.evaluator.transcripts
        if name not in QUESTIONS
    ]
    if unknown:
        raise InvalidInput(tuple(unknown))
    return {
        role: {name: Path(path) for name, path in config.prompts.items() if name in names}
        for role, names in parts.items()
    }
