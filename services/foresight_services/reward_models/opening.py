"""From the evaluator's sections of the configuration to models; nothing is loaded or asked yet."""

from __future__ import annotations

import os
from typing import Protocol

from foresight_services.config.evaluator import BertScoreConfig, RewardModelConfig
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.ports import Clock
from foresight_services.metrics.tools import RewardModel
from foresight_services.reward_models.bert_model import BertModel, BertSettings
from foresight_services.reward_models.markers import WIDESPREAD
from foresight_services.reward_models.torch_model import TorchRewardModel, TorchSettings
from foresight_services.reward_models.vllm_model import VllmClassifySettings, VllmRewardModel


class OpenRewardModel(RewardModel, Protocol):
    """A reward model with a beginning and an end."""

    async def prepare(self) -> None:
        """Load it or try its server, unless that was done before; metrics call it."""
        ...

    async def aclose(self) -> None:
        """Let go of it."""
        ...


def open_reward_model(name: str, config: RewardModelConfig, *, clock: Clock) -> OpenRewardModel:
    """Return the model that the configuration calls `name`.

    Raises:
        InvalidInput: naming `evaluator.reward_models.<name>...`, where the section cannot be used.
    """
    path = f"evaluator.reward_models.{name}"
    if config.backend == "torch":
        return TorchRewardModel(
            TorchSettings(
                name=name,
                model=config.model,
                device=config.device,
                dtype=config.dtype,
                batch_size=config.batch_size,
                max_concurrency=config.max_concurrency,
            )
        )
    if config.base_url is None:
        problem = "is missing; the backend `vllm` needs the server's address"
        raise InvalidInput((Violation(f"{path}.base_url", problem),))
    try:
        settings = VllmClassifySettings(
            name=name,
            base_url=config.base_url,
            model=config.model,
            api_key=_key(path, config.api_key_env),
            timeout_seconds=config.timeout_seconds,
            max_concurrency=config.max_concurrency,
            markers=WIDESPREAD if config.markers is None else tuple(config.markers),
        )
    except ValueError as error:
        raise InvalidInput((Violation(path, str(error)),)) from error
    return VllmRewardModel(settings, clock=clock)


def open_bertscore(config: BertScoreConfig) -> BertModel:
    """Return the encoder of BERTScore."""
    return BertModel(BertSettings(config.model, config.layers, config.device))


def _key(path: str, variable: str) -> str | None:
    """Return the key that the environment variable holds; None where none is named."""
    if not variable:
        return None
    key = os.environ.get(variable)
    if not key:
        problem = f"names {variable!r}, an environment variable that is not set"
        raise InvalidInput((Violation(f"{path}.api_key_env", problem),))
    return key
