"""Which rows are held out: by part, else drawn from seed and content alone."""

import random
from pathlib import PurePath

import pytest

from foresight_services.datasets import Options, Split, load
from foresight_services.datasets.splits import drawn_split, part_of
from tests.unit.datasets.samples import AMBIGUOUS, CLEAR, CODE, write

KEYS = [f"key {number}" for number in range(4000)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_is_held_out(share):
    held_out = sum(drawn_split(1, key, share) is Split.EVAL for key in KEYS)
    # Five standard deviations of a fair draw.
    assert abs(held_out - share * len(KEYS)) <= 5 * (len(KEYS) * share * (1 - share)) ** 0.5


def test_seeds_draw_independently():
    same = sum(drawn_split(1, key, 0.5) is drawn_split(2, key, 0.5) for key in KEYS)
    assert abs(same - len(KEYS) / 2) <= 5 * len(KEYS) ** 0.5 / 2


def test_the_draws_of_a_seed_never_change():
    held_out = [n for n in range(40) if drawn_split(42, f"key {n}", 0.2) is Split.EVAL]
    # Whoever trained on a split relies on it.
    assert held_out == [13, 19]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("coqa_abg_val.json", "val"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("MATH/train/algebra.jsonl", "train"),
        ("Train/algebra.jsonl", "train"),
        ("my-test/rows.jsonl", ""),
        ("latest.jsonl", ""),
        ("train_and_test.jsonl", ""),
        ("train/validation.jsonl", "validation"),
        ("rows.jsonl", ""),
    ],
)
def test_a_file_may_name_its_part(path, part):
    assert part_of(PurePath(path)) == part


def test_neither_order_nor_other_rows_move_a_row(tmp_path):
    rows = [{**CODE, "instruct_prompt": f"Write function {number}."} for number in range(200)]
    whole = {
        row.id: row.split for row in load("bigcodebench", files=[write(tmp_path / "a.json", rows)])
    }
    random.Random(3).shuffle(rows)
    part = {
        row.id: row.split
        for row in load("bigcodebench", files=[write(tmp_path / "b.csv", rows[:90])])
    }
    assert len(whole) == 200
    assert part.items() <= whole.items()
    assert 20 <= list(whole.values()).count(Split.EVAL) <= 60
    other = load("bigcodebench", files=[tmp_path / "a.json"], options=Options(seed=1))
    assert {row.id: row.split for row in other} != whole


def test_a_published_part_is_kept_and_may_be_asked_for(tmp_path):
    files = [
        write(tmp_path / "coqa_abg_train.json", [CLEAR]),
        write(tmp_path / "coqa_abg_val.json", [AMBIGUOUS]),
        write(tmp_path / "coqa_abg_test.json", [{**CLEAR, "story": "Another."}]),
    ]
    assert [row.split for row in load("abg-coqa", files=files)] == ["train", "eval", "eval"]
    assert len(list(load("abg-coqa", files=files, split=Split.EVAL))) == 2
    assert len(list(load("abg-coqa", files=files, split=Split.TRAIN))) == 1


def test_questions_about_one_story_stay_together(tmp_path):
    rows = [
        {
            **CLEAR,
            "story": f"Story {number}.",
            "target_turn": {**CLEAR["target_turn"], "question": q},
        }
        for number in range(60)
        for q in ("Who?", "Where?")
    ]
    found = list(load("abg-coqa", files=[write(tmp_path / "rows.json", rows)]))
    assert {row.split for row in found} == set(Split)
    assert [a.split for a in found[::2]] == [b.split for b in found[1::2]]
