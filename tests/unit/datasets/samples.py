"""Rows of every data set, in its own columns, and files and modules that hold them."""

from __future__ import annotations

import csv
import json
from types import ModuleType, SimpleNamespace
from typing import Any

MATH = {
    "problem": "What is $1+1$?",
    "level": "Level 5",
    "type": "Algebra",
    "solution": r"We add: $\boxed{1+1=\frac{4}{2}}$, so it is $\boxed{2}$.",
}
CODE = {
    "task_id": "BigCodeBench/0",
    "complete_prompt": 'def f():\n    """Return one."""\n',
    "instruct_prompt": "Write f, which returns one.",
    "canonical_solution": "    return 1\n",
    "code_prompt": "def f():\n",
    "test": "import unittest\n\nclass TestCases(unittest.TestCase):\n    pass\n",
    "entry_point": "f",
}
CLEAR: dict[str, Any] = {
    "id": "a|1",
    "story": "Oliver is a cat. Spike is his sister.",
    "target_turn": {"turn_id": 3, "question": "Who is Spike?", "answer": "his sister"},
    "history_turns": [
        {"turn_id": 2, "question": "Is he a cat?", "answer": "yes"},
        {"turn_id": 1, "question": "Who is Oliver?", "answer": "a cat"},
    ],
    "ambiguity": "non_ambiguous",
    "clarification_turn": {},
    "source": "mctest",
}
AMBIGUOUS: dict[str, Any] = {
    "id": "b|2",
    "story": "Oliver is big. Spike is small.",
    "target_turn": {"turn_id": 1, "question": "How big?", "answer": "small"},
    "history_turns": [],
    "ambiguity": "ambiguous",
    "clarification_turn": {
        "question": "Do you mean Oliver?",
        "answers": [
            {"clr_ans": "Yes", "org_ans": "big", "org_ans_2": "he is big", "org_ans_3": "big"},
            {"clr_ans": "No, Spike", "org_ans": "small"},
        ],
    },
    "source": "mctest",
    "clarification_turn_2": {"question": "Which cat?", "answers": []},
}


def article(number, *, day=None, words=5):
    """Return an article of as many tokens as `words`; later numbers are newer."""
    day = number if day is None else day
    date = f"{2000 + day // 300}-{1 + day // 25 % 12:02}-{1 + day % 25:02}"
    return {
        "title": f"Title {number}",
        "text": " ".join([f"word{number}"] * words),
        "url": f"https://example.org/{number}",
        "authors": "['A']",
        "timestamp": f"{date} 06:00:00+00:00",
        "tags": "[]",
    }


def count_words(text):
    return len(text.split())


def write(path, rows):
    """Write `rows` in the format that the name of `path` tells; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        elif path.suffix == ".json":
            json.dump(rows, file)
        else:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
    return path


def fake_datasets(published, *, version="4.0.0", calls=None):
    """Return a module with what is used of the library `datasets`."""

    def load_dataset(repository, **options):
        if calls is not None:
            calls.append((repository, options))
        if isinstance(published, Exception):
            raise published
        return published

    module = ModuleType("datasets")
    vars(module).update(__version__=version, load_dataset=load_dataset)
    return module


class ArrowError(Exception):
    """What the fake of `pyarrow` raises for a broken file."""


def fake_pyarrow(rows):
    """Return the modules `pyarrow` and `pyarrow.parquet` with what is used of them."""

    class ParquetFile:
        def __init__(self, path):
            if not path.read_bytes().startswith(b"PAR1"):
                raise ArrowError("secret text of the file")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def iter_batches(self, batch_size):
            for start in range(0, len(rows), batch_size):
                batch = rows[start : start + batch_size]
                yield SimpleNamespace(to_pylist=lambda batch=batch: batch)

    arrow, parquet = ModuleType("pyarrow"), ModuleType("pyarrow.parquet")
    vars(arrow).update(ArrowException=ArrowError)
    vars(parquet).update(ParquetFile=ParquetFile)
    return {"pyarrow": arrow, "pyarrow.parquet": parquet}
