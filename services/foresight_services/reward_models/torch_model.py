"""A reward model inside the evaluator, on torch and transformers.

The score is the one logit of a sequence-classification model for the conversation as the model's
own chat template shows it, without a generation prompt (CollabLLM `rm_score`). What the template
or the model's positions cannot take is a failure: nothing is cut. Weights are read from safetensors
alone and no code of a model is run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from foresight_services.core.conversation import Conversation
from foresight_services.core.errors import DomainError
from foresight_services.core.subject import Subject
from foresight_services.reward_models.batching import Batching, Loaded, Purpose
from foresight_services.reward_models.checkpoint import (
    is_folder,
    positions_of,
    quiet,
    require_weights,
)
from foresight_services.reward_models.markers import METRIC, failed, refuse_markers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class TorchSettings:
    """Which model is loaded, and how."""

    name: str
    """The configuration's name of the model, for errors."""
    model: str
    """Folder or hub name of the model."""
    device: str = "cpu"
    """Device that it runs on, such as `cuda:0`."""
    dtype: Dtype = "auto"
    """Type of its weights; `auto` takes the checkpoint's."""
    batch_size: int = 1
    """Most conversations that are scored at once; with 1 no score depends on what else there is,
    not even in its last digits."""
    max_concurrency: int = 64
    """Most conversations that wait for the model; further ones wait in line."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        if self.batch_size < 1 or self.max_concurrency < 1:
            raise ValueError("batch_size and max_concurrency must be at least 1")


class TorchRewardModel:
    """A model in this process; implements the port `RewardModel`. Close it with `aclose`."""

    def __init__(self, settings: TorchSettings) -> None:
        """Describe the model; `prepare` loads it, or else the first score."""
        purpose = Purpose(f"the reward model {settings.name!r}", METRIC, "reward-model")
        self._batching = Batching[Conversation, float](
            purpose,
            lambda: Classifier(settings, purpose),
            max_concurrency=settings.max_concurrency,
        )

    async def prepare(self) -> None:
        """Load the model, unless that was done before.

        Raises:
            Precondition: METRIC_UNAVAILABLE where torch or transformers is missing, or the model
                is no sequence classifier with one label and a chat template.
        """
        await self._batching.prepare()

    async def aclose(self) -> None:
        """Let go of the model."""
        await self._batching.aclose()

    async def score(self, conversation: Conversation, subject: Subject) -> float:
        """Return the model's logit for `conversation`.

        Raises:
            Upstream: METRIC_FAILED where it cannot be had.
        """
        del subject
        return await self._batching.score(conversation)


class Classifier(Loaded[Conversation, float]):
    """The model itself, in its thread."""

    def __init__(self, settings: TorchSettings, purpose: Purpose) -> None:
        """Load tokenizer and weights; see TorchRewardModel.prepare."""
        self._tokenizer = _tokenizer(settings)
        self._model = _model(settings, purpose)
        self._device = settings.device
        if not self._tokenizer.chat_template:
            raise purpose.unavailable("has no chat template", "chat template")
        added = self._tokenizer.added_tokens_decoder.values()
        self._markers = sorted({str(token) for token in added if token.special})
        self._positions = positions_of(self._model, self._tokenizer)
        pad = self._model.config.get_text_config().pad_token_id
        # Without one the model cannot tell where a shorter conversation of a batch ends.
        self.batch_size = 1 if pad is None else settings.batch_size
        self._pad = 0 if pad is None else int(pad)

    def score(self, items: Sequence[Conversation]) -> list[float | DomainError]:
        """Return the logit of every conversation, or why there is none."""
        outcomes: list[float | DomainError] = []
        encoded: list[list[int]] = []
        for conversation in items:
            try:
                encoded.append(self._encode(conversation))
                outcomes.append(math.nan)
            except DomainError as error:
                outcomes.append(error)
        logits = iter(self._logits(encoded) if encoded else ())
        return [o if isinstance(o, DomainError) else _checked(next(logits)) for o in outcomes]

    def _encode(self, conversation: Conversation) -> list[int]:
        from jinja2.exceptions import TemplateError

        refuse_markers(conversation, self._markers)
        messages = [{"role": m.role, "content": m.content} for m in conversation]
        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False)
        except TemplateError as error:
            raise failed("the model's chat template refuses the conversation") from error
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        if self._positions is not None and len(tokens) > self._positions:
            raise failed(
                f"the conversation has {len(tokens)} tokens, the model reads {self._positions}"
            )
        if not tokens:
            raise failed("the model's chat template shows nothing of the conversation")
        return tokens

    def _logits(self, encoded: Sequence[Sequence[int]]) -> list[float]:
        import torch

        longest = max(map(len, encoded))
        ids = torch.full((len(encoded), longest), self._pad)
        mask = torch.zeros((len(encoded), longest), dtype=torch.long)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        with torch.inference_mode():
            output = self._model(
                input_ids=ids.to(self._device), attention_mask=mask.to(self._device)
            )
        logits: list[float] = output.logits[:, 0].float().tolist()
        return logits


def _tokenizer(settings: TorchSettings) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    quiet()
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        settings.model, local_files_only=is_folder(settings.model), trust_remote_code=False
    )
    return tokenizer


def _model(settings: TorchSettings, purpose: Purpose) -> PreTrainedModel:
    from transformers import AutoModelForSequenceClassification

    model: PreTrainedModel
    model, report = AutoModelForSequenceClassification.from_pretrained(
        settings.model,
        local_files_only=is_folder(settings.model),
        trust_remote_code=False,
        use_safetensors=True,
        dtype=settings.dtype,
        output_loading_info=True,
    )
    if model.config.num_labels != 1:
        problem = f"has {model.config.num_labels} labels; a reward model has one"
        raise purpose.unavailable(problem, "one label")
    require_weights(report, purpose)
    return model.to(settings.device).eval()


def _checked(logit: float) -> float | DomainError:
    return logit if math.isfinite(logit) else failed("the model's logit is not a finite number")
