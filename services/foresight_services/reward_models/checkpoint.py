"""What is to be known of a checkpoint before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from foresight_services.reward_models.batching import Purpose

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_LIMIT: Final = 1 << 30
"""From here on a tokenizer's `model_max_length` is a placeholder."""


def quiet() -> None:
    """Keep transformers from drawing progress bars into the service's log."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def is_folder(model: str) -> bool:
    """Return whether `model` is a folder, from which alone it is then read."""
    return Path(model).is_dir()


def require_weights(report: Mapping[str, Any], purpose: Purpose, *, unused: str = "") -> None:
    """Raise Precondition where the checkpoint lacks weights, those under `unused` excepted.

    transformers fills in by chance what a checkpoint lacks, a whole head if need be.
    """
    lacking = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    missed = sorted(key for key in lacking if not (unused and key.startswith(unused)))
    if missed:
        raise purpose.unavailable(f"has no weights for {', '.join(missed[:3])}", "weights")


def positions_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return how many tokens the model reads; None where nothing says so."""
    limits = (
        getattr(model.config.get_text_config(), "max_position_embeddings", None),
        tokenizer.model_max_length,
    )
    # Some encoders say -1, for relative positions have no end.
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < NO_LIMIT]
    return min(known, default=None)
