"""What determines the futures and the scores of this process, as digests.

Whatever is not known to change nothing is in them: a digest too many costs a computation, one too
few gives a wrong answer. What a server does behind its address is not seen from here. Libraries
that compute in this process count with their versions: another one may divide a text otherwise.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from foresight_services.bootstrap.models import Models
from foresight_services.config import Config
from foresight_services.config.evaluator import RewardModelConfig, SandboxConfig
from foresight_services.config.models import ModelConfig
from foresight_services.config.section import Section
from foresight_services.core.cachekey import Keyed, digest, installed
from foresight_services.core.ports import ChatModel
from foresight_services.core.simulation import DRAWS
from foresight_services.core.task import PolicyRef
from foresight_services.metrics.judging.judge import Judge
from foresight_services.metrics.judging.prompted import PromptedJudge
from foresight_services.metrics.tools import ToolName
from foresight_services.simulator.prompting.user import PromptedUser

OPERATIONAL: Final = frozenset(
    {
        "api_key_env",
        "batch_size",
        "breaker",
        "connect_timeout_seconds",
        "device",
        "gpu_memory_utilization",
        "hedging",
        "kv_cache_bytes",
        "limits",
        "max_concurrency",
        "max_connections",
        "max_loras",
        "price",
        "retries",
        "timeout_seconds",
    }
)
"""Settings that change when and at what cost something is computed, but not what."""

BACKENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "litellm": ("litellm",),
    "trl": ("transformers", "tokenizers", "jinja2"),
    "torch": ("torch", "transformers", "tokenizers", "jinja2"),
    "vllm": ("vllm", "torch", "transformers", "tokenizers", "jinja2"),
}
"""Libraries of this process that shape what a model says or scores, by its backend."""

TOKENIZERS: Final = ("tiktoken", "tokenizers")
"""Libraries that count tokens."""


class SimulatorIdentity:
    """Tells the fingerprint of every policy's futures; see the port `Simulator`."""

    def __init__(self, config: Config, models: Models, user: ChatModel) -> None:
        """Digest what all policies share: the user, the rules, the worlds, the program."""
        self._models = config.models
        self._prompts = models.policy_prompts
        simulator = config.simulator
        self._shared = digest(
            "simulator",
            {
                "distribution": version("foresight"),
                "draws": DRAWS,
                "user_model": _model(config.models[config.roles.user]),
                "user": user.digest if isinstance(user, PromptedUser) else "rules",
                "termination_signal": simulator.termination_signal,
                "on_context_exhausted": simulator.on_context_exhausted,
                "worlds": _worlds(config),
            },
        )
        self._known: dict[str, str] = {}

    def __call__(self, policy: PolicyRef) -> str:
        """Return the fingerprint; versions of one policy share it, keys tell them apart."""
        # A name that is not configured is played as the default policy where it was published.
        name = policy.name if policy.name in self._models else PolicyRef().name
        if name not in self._known:
            fields: Mapping[str, Keyed] = {
                "shared": self._shared,
                "model": _model(self._models[name]) if name in self._models else None,
                "prompts": self._prompts,
            }
            self._known[name] = digest("fingerprint", fields).hex()
        return self._known[name]


def tool_identities(config: Config, judge: Judge) -> Mapping[ToolName, str]:
    """Return what determines the answers of each of the evaluator's tools."""
    evaluator = config.evaluator
    tools: dict[ToolName, Keyed] = {
        "judge": {
            "model": _model(config.models[config.roles.judge]),
            "prompts": judge.digest if isinstance(judge, PromptedJudge) else "rules",
            "max_artifact_tokens": evaluator.max_artifact_tokens,
            "worlds": _worlds(config),
        },
        "token_counters": {
            "files": {name: _file(Path(path)) for name, path in evaluator.tokenizers.items()},
            "libraries": installed(TOKENIZERS),
        },
        "sandbox": [_determining(evaluator.sandbox), _interpreter(evaluator.sandbox)],
        "reward_models": {
            name: _model(model) for name, model in sorted(evaluator.reward_models.items())
        },
        "bertscore": (
            None
            if evaluator.bertscore is None
            else [_determining(evaluator.bertscore), installed(BACKENDS["torch"])]
        ),
    }
    return {name: digest(name, {"tool": fields}).hex() for name, fields in tools.items()}


def _determining(settings: ModelConfig | Section) -> Keyed:
    dumped: Mapping[str, Keyed] = settings.model_dump(mode="json", exclude=set(OPERATIONAL))
    return dumped


def _model(settings: ModelConfig | RewardModelConfig) -> Keyed:
    return [_determining(settings), installed(BACKENDS.get(settings.backend, ()))]


def _interpreter(sandbox: SandboxConfig) -> Keyed:
    """Return what runs the code; packages beside a configured interpreter are not seen."""
    if sandbox.python:
        return _file(Path(os.path.realpath(sandbox.python)))
    return [platform.python_implementation(), platform.python_version()]


def _worlds(config: Config) -> Keyed:
    game = config.worlds.twenty_questions
    knowledge = _file(Path(game.knowledge_path)) if game.knowledge_path else "shipped"
    return {"error_rate": game.error_rate, "knowledge": knowledge}


def _file(path: Path) -> Keyed:
    """Return the digest of a file, or of the tokenizer in a folder; its path where there is none.

    Whoever uses the file says what is wrong with it.
    """
    if path.is_dir():
        path = path / "tokenizer.json"
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except OSError:
        return str(path)
