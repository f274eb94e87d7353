"""Which rows are for training and which are held out.

A split is drawn for each row from the seed and the row's own content, so neither the order of the
rows nor what else is in the file moves it, and rows about the same thing stay on one side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePath
from re import split as split_text
from typing import Final

from foresight_services.datasets.records import Record
from foresight_services.datasets.task_row import Split, digest

PARTS: Final[Mapping[str, Split]] = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "test": Split.EVAL,
    "val": Split.EVAL,
    "valid": Split.EVAL,
    "validation": Split.EVAL,
    "dev": Split.EVAL,
    "eval": Split.EVAL,
}
"""What data sets call their parts."""


def draw(seed: int, key: str) -> int:
    """Return 64 bits that depend on `seed` and `key` alone."""
    content = digest("split", str(seed), key).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def drawn_split(seed: int, key: str, eval_share: float) -> Split:
    """Return the split of what `key` names; `eval_share` of all keys are held out on average."""
    return Split.EVAL if draw(seed, key) < eval_share * 2**64 else Split.TRAIN


def published_split(record: Record) -> Split | None:
    """Return the split of the published part that the row is in, None where that is no part."""
    return PARTS.get(record.part)


def part_of(path: PurePath) -> str:
    """Return the part that a file is: a word of its name, else its folder; empty for none."""
    found = [word for word in split_text(r"[^a-z]+", path.stem.lower()) if word in PARTS]
    if found:
        # A name of both sides tells nothing.
        return found[0] if len({PARTS[word] for word in found}) == 1 else ""
    folder = path.parent.name.lower()
    return folder if folder in PARTS else ""
