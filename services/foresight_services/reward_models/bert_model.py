"""The encoder of BERTScore, on torch and transformers.

Precision is the mean, over the tokens of the text, of the greatest cosine similarity that one has
with a token of the reference; recall the same with the parts exchanged (Zhang et al., "BERTScore",
ICLR 2020). As in the authors' bert-score 0.3.13 without idf weights and baseline, the tokens that
frame a text can be matched but do not count, and an empty text scores 0. Unlike there a text that
is longer than the encoder reads is a failure and not cut, special tokens that a text spells are
plain text, and weights are read from safetensors alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from foresight_services.core.errors import DomainError, Reason, Upstream
from foresight_services.reward_models.batching import Batching, Loaded, Purpose
from foresight_services.reward_models.checkpoint import (
    is_folder,
    positions_of,
    quiet,
    require_weights,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

METRIC: Final = "bertscore"

MAX_CONCURRENCY: Final = 64
"""Most pairs that wait for the encoder; further ones wait in line."""

REFERENCES: Final = 16
"""References whose representations are kept: all futures of a task have the same one."""

Pair = tuple[str, str]
Match = tuple[float, float]


@dataclass(frozen=True, slots=True)
class BertSettings:
    """Which encoder is loaded, and how."""

    model: str
    """Folder or hub name of the encoder."""
    layers: int
    """Layer whose representations are compared, from 1; bert-score's `num_layers`."""
    device: str = "cpu"
    """Device that it runs on, such as `cuda:0`."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        if self.layers < 1:
            raise ValueError("layers must be at least 1")


class BertModel:
    """An encoder in this process; implements the port `TextMatcher`. Close it with `aclose`."""

    def __init__(self, settings: BertSettings) -> None:
        """Describe the encoder; `prepare` loads it, or else the first score."""
        purpose = Purpose("the model of BERTScore", METRIC, "bertscore")
        self._batching = Batching[Pair, Match](
            purpose, lambda: Encoder(settings, purpose), max_concurrency=MAX_CONCURRENCY
        )

    async def prepare(self) -> None:
        """Load the encoder, unless that was done before.

        Raises:
            Precondition: METRIC_UNAVAILABLE where torch or transformers is missing, or the model
                cannot be used.
        """
        await self._batching.prepare()

    async def aclose(self) -> None:
        """Let go of the encoder."""
        await self._batching.aclose()

    async def match(self, text: str, reference: str) -> Match:
        """Return precision and recall of `text`, each from -1 to 1.

        Raises:
            Upstream: METRIC_FAILED where they cannot be had.
        """
        return await self._batching.score((text, reference))


class Encoder(Loaded[Pair, Match]):
    """The encoder itself, in its thread. Texts are encoded one by one, so that no score depends on
    what else is scored."""

    batch_size = 1

    def __init__(self, settings: BertSettings, purpose: Purpose) -> None:
        """Load tokenizer and weights; see BertModel.prepare."""
        from transformers import AutoModel, AutoTokenizer

        quiet()
        local = is_folder(settings.model)
        self._tokenizer = AutoTokenizer.from_pretrained(
            settings.model, local_files_only=local, trust_remote_code=False
        )
        self._model, report = AutoModel.from_pretrained(
            settings.model,
            local_files_only=local,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
        # The pooler stands behind the last layer and is not used.
        require_weights(report, purpose, unused="pooler.")
        depth = self._model.config.num_hidden_layers
        if settings.layers > depth:
            raise purpose.unavailable(f"has {depth} layers, not {settings.layers}", "layers")
        _cut(self._model, settings.layers)
        self._model.to(settings.device).eval()
        self._layers = settings.layers
        self._device = settings.device
        self._positions = positions_of(self._model, self._tokenizer)
        # Byte-level vocabularies have other tokens for a word that begins a text.
        family = type(self._tokenizer).__name__
        self._lead = " " if family.startswith(("Roberta", "GPT2")) else ""
        self._reference = lru_cache(maxsize=REFERENCES)(self._encode)

    def score(self, items: Sequence[Pair]) -> list[Match | DomainError]:
        """Return precision and recall of every pair, or why there are none."""
        outcomes: list[Match | DomainError] = []
        for text, reference in items:
            try:
                outcomes.append(_match(self._encode(text), self._reference(reference)))
            except DomainError as error:
                outcomes.append(error)
        return outcomes

    def _encode(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the unit vectors of the text's tokens, and which of them count."""
        import torch

        bare = text.strip()
        encoded = self._tokenizer(
            self._lead + bare if bare else "",
            return_special_tokens_mask=True,
            split_special_tokens=True,
            return_tensors="pt",
            verbose=False,
        )
        counts = encoded.pop("special_tokens_mask")[0] == 0
        if self._positions is not None and len(counts) > self._positions:
            raise _failed(f"a text has {len(counts)} tokens, the model reads {self._positions}")
        with torch.inference_mode():
            output = self._model(**encoded.to(self._device), output_hidden_states=True)
        vectors = output.hidden_states[self._layers][0].double()
        return torch.nn.functional.normalize(vectors, dim=-1), counts.to(self._device)


def _match(
    text: tuple[torch.Tensor, torch.Tensor], reference: tuple[torch.Tensor, torch.Tensor]
) -> Match:
    (vectors, counts), (wanted, wanted_counts) = text, reference
    if not counts.any() or not wanted_counts.any():
        return 0.0, 0.0
    similar = vectors @ wanted.T
    precision = float(similar.max(dim=1).values[counts].mean())
    recall = float(similar.max(dim=0).values[wanted_counts].mean())
    if not (math.isfinite(precision) and math.isfinite(recall)):
        raise _failed("the model's representations are not finite numbers")
    return precision, recall


def _cut(model: PreTrainedModel, layers: int) -> None:
    """Drop the layers above those that are used, where the model has them in a known place."""
    for name in ("encoder", "transformer"):
        part = getattr(model, name, None)
        if part is not None and hasattr(part, "layer"):
            part.layer = part.layer[:layers]


def _failed(problem: str) -> Upstream:
    return Upstream(Reason.METRIC_FAILED, f"{METRIC}: {problem}", metadata={"metric": METRIC})
