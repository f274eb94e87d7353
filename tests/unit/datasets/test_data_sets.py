"""What becomes of the rows of every data set, and which rows are refused."""

import hashlib
import json
from types import MappingProxyType

import pytest

from foresight import build_request
from foresight_services.core.errors import InvalidInput
from foresight_services.datasets import DATA_SETS, Options, load, task_fields
from foresight_services.datasets.math_hard import boxed_answer
from tests.unit.datasets.samples import AMBIGUOUS, CLEAR, CODE, MATH, count_words, write

SINGLE = {
    "single_turn_prompt": "Hi?",
    "single_turn_completion": "Hello.",
    "single_turn_metadata": {},
}


@pytest.fixture
def only(tmp_path):
    """Load a data set that has one row."""

    def load_only(name, row, file="rows.jsonl", **options):
        (found,) = load(name, files=[write(tmp_path / file, [row])], options=Options(**options))
        return found

    return load_only


def test_math_hard(only):
    task = only("math-hard", MATH).task
    assert (task.preset, task.goal, task.reference) == ("math", MATH["problem"], MATH["solution"])
    assert task.metadata == {"answer": "2", "level": "Level 5", "type": "Algebra"}


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"$\boxed{1}$ and then $\boxed{ 2 }$", "2"),
        (r"$\boxed{\left\{1, 2\right\}}$", r"\left\{1, 2\right\}"),
        (r"$\boxed{\left\{ x \right.}$", r"\left\{ x \right."),
        (r"$\fbox{A}$", "A"),
        (r"$\boxed 12$.", "12"),
        ("no box", None),
        (r"\boxed{never ends", None),
        (r"\boxed", None),
        (r"\boxed{}", None),
    ],
)
def test_the_last_box_is_the_answer(solution, answer):
    assert boxed_answer(solution) == answer


def test_a_solution_without_a_box_has_no_answer(only):
    assert "answer" not in only("math-hard", {**MATH, "solution": "It is 2."}).task.metadata


def test_bigcodebench(only):
    task = only("bigcodebench", CODE).task
    assert (task.preset, task.goal) == ("code_generation", CODE["instruct_prompt"])
    assert task.reference == "def f():\n    return 1\n"
    requirement = task.metadata["extraction_requirement"]
    assert requirement.endswith("\n\ndef f():\n")
    assert {key: task.metadata[key] for key in ("task_id", "test", "entry_point")} == {
        "task_id": "BigCodeBench/0",
        "test": CODE["test"],
        "entry_point": "f",
    }


def test_a_clear_question_of_abg_coqa(only):
    task = only("abg-coqa", CLEAR).task
    assert (task.preset, task.reference) == ("ambiguous_qa", "his sister")
    assert CLEAR["story"] in task.goal
    assert "Q: Who is Oliver?\nA: a cat\nQ: Is he a cat?\nA: yes" in task.goal
    assert task.goal.endswith("Who is Spike?")
    assert task.metadata == {
        "ambiguity": "non_ambiguous",
        "answer": "his sister",
        "source_id": "a|1",
        "source": "mctest",
    }


def test_an_ambiguous_question_of_abg_coqa(only):
    task = only("abg-coqa", AMBIGUOUS).task
    assert task.goal.endswith('to "Do you mean Oliver?" the answer is "Yes"')
    assert "Do you mean Oliver?" in task.reference
    assert 'After "Yes" the right answer is: big / he is big' in task.reference
    assert 'After "No, Spike" the right answer is: small' in task.reference
    assert task.metadata["clarifying_question"] == "Do you mean Oliver?"
    assert task.metadata["clarifying_question_2"] == "Which cat?"
    assert (task.metadata["ambiguity"], task.metadata["meaning"]) == ("ambiguous", "Yes")


def test_abg_coqa_as_a_table_gives_every_row_the_same_members(only):
    empty = {"question": None, "answers": None}
    row = {**CLEAR, "clarification_turn": empty, "clarification_turn_2": empty}
    assert only("abg-coqa", row) == only("abg-coqa", CLEAR, "other.json")
    second = {**AMBIGUOUS, "clarification_turn_2": empty}
    assert "clarifying_question_2" not in only("abg-coqa", second).task.metadata


def test_single_turn_as_collabllm_writes_it(only):
    row = {**SINGLE, "single_turn_metadata": {"level": "5", "n": 3, "tags": ["a"], "none": None}}
    task = only("single-turn", row).task
    assert (task.preset, task.goal, task.reference) == ("", "Hi?", "Hello.")
    assert task.metadata == {"level": "5", "n": "3", "tags": '["a"]'}
    assert only("single-turn", row, preset="math").task.preset == "math"
    text = {**row, "single_turn_metadata": json.dumps(row["single_turn_metadata"])}
    assert only("single-turn", text, "rows.csv") == only("single-turn", row)


def test_single_turn_of_any_origin(only):
    found = only("single-turn", {"prompt": "Hi?", "completion": "Yo.", "split": "dev", "x": 1})
    assert (found.split, found.task.goal, found.task.reference) == ("eval", "Hi?", "Yo.")
    assert found.task.metadata == {"x": "1"}


def test_ids_depend_on_content_and_on_nothing_else(tmp_path):
    other = {**CODE, "test": "pass"}
    ids = []
    for name, rows in (
        ("a.json", [CODE, other]),
        ("b.jsonl", [other, CODE]),
        ("c.csv", [CODE, other]),
    ):
        ids.append(
            sorted(row.id for row in load("bigcodebench", files=[write(tmp_path / name, rows)]))
        )
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 2


def test_an_id_is_a_digest_that_others_can_compute(only):
    content = json.dumps(["math-hard", MATH["problem"], MATH["solution"]], separators=(",", ":"))
    expected = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
    assert only("math-hard", MATH).id == f"math-hard-{expected}"


@pytest.mark.parametrize("name", sorted(DATA_SETS))
def test_every_task_is_one_of_a_request(name, tmp_path):
    rows = {"math-hard": MATH, "bigcodebench": CODE, "abg-coqa": AMBIGUOUS, "single-turn": SINGLE}
    article = {"title": "T", "text": "x", "timestamp": "2020-01-01"}
    files = [write(tmp_path / "rows.jsonl", [rows.get(name, article)] * 200)]
    found = next(load(name, files=files, options=Options(count_tokens=count_words)))
    request = build_request({"task": task_fields(found.task)})
    assert (request.task.goal, request.task.preset) == (found.task.goal, found.task.preset)
    assert dict(request.task.metadata) == dict(found.task.metadata)
    assert isinstance(found.task.metadata, MappingProxyType)


def without(row, *path):
    """Return `row` less the member at `path`."""
    first, *rest = path
    if not rest:
        return {key: value for key, value in row.items() if key != first}
    inner = row[first]
    if isinstance(inner, list):
        index, *rest = rest
        changed = [without(entry, *rest) if n == index else entry for n, entry in enumerate(inner)]
        return {**row, first: changed}
    return {**row, first: without(inner, *rest)}


CLARIFICATION = "clarification_turn"
REFUSED = {
    "problem": ("math-hard", without(MATH, "problem"), "problem: is missing"),
    "solution": ("math-hard", {**MATH, "solution": " "}, "solution: is empty"),
    "level": ("math-hard", {**MATH, "level": 5}, "level: must be text, not a number"),
    "surrogate": ("math-hard", {**MATH, "problem": "\ud800"}, "problem: is no Unicode text"),
    "long": (
        "math-hard",
        {**MATH, "solution": "x" * 1_100_000},
        "task.reference: is 1100000 bytes",
    ),
    "test": ("bigcodebench", without(CODE, "test"), "test: is missing"),
    "entry point": ("bigcodebench", {**CODE, "entry_point": None}, "entry_point: is empty"),
    "story": ("abg-coqa", without(CLEAR, "story"), "story: is missing"),
    "label": ("abg-coqa", {**CLEAR, "ambiguity": "ambigous"}, "did you mean 'ambiguous'?"),
    "target": ("abg-coqa", {**CLEAR, "target_turn": "{}"}, "must be an object, not text"),
    "question": (
        "abg-coqa",
        without(CLEAR, "target_turn", "question"),
        "target_turn.question: is missing",
    ),
    "history": ("abg-coqa", {**CLEAR, "history_turns": {}}, "must be a list, not an object"),
    "turn": (
        "abg-coqa",
        without(CLEAR, "history_turns", 1, "turn_id"),
        "history_turns[1].turn_id: is missing",
    ),
    "no clarification": (
        "abg-coqa",
        {**AMBIGUOUS, CLARIFICATION: {}},
        "clarification_turn.answers: is missing",
    ),
    "no reading": (
        "abg-coqa",
        {**AMBIGUOUS, CLARIFICATION: {"question": "?", "answers": []}},
        "clarification_turn.answers: is empty",
    ),
    "reading": (
        "abg-coqa",
        without(AMBIGUOUS, CLARIFICATION, "answers", 1, "org_ans"),
        "clarification_turn.answers[1].org_ans: is missing",
    ),
    "completion": ("single-turn", {"prompt": "x"}, "completion: is missing"),
    "mixed": ("single-turn", {"single_turn_prompt": "x"}, "single_turn_completion: is missing"),
    "messages": ("single-turn", {"prompt": [], "completion": "x"}, "must be text, not a list"),
    "split": (
        "single-turn",
        {"prompt": "x", "completion": "x", "split": "tset"},
        "split: unknown 'tset'; did you mean 'test'?",
    ),
    "metadata": (
        "single-turn",
        {**SINGLE, "single_turn_metadata": "{'a': 1}"},
        "single_turn_metadata: must be an object",
    ),
    "much metadata": (
        "single-turn",
        {"prompt": "x", "completion": "x", **{f"c{n}": 1 for n in range(65)}},
        "task.metadata: has 65 entries; at most 64",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_row_that_is_wrong_is_told_with_its_column(case, tmp_path):
    name, row, message = REFUSED[case]
    path = write(tmp_path / "rows.jsonl", [row])
    with pytest.raises(InvalidInput) as raised:
        list(load(name, files=[path]))
    assert f"{path}, line 1, " in str(raised.value)
    assert message in str(raised.value)


def test_a_split_is_in_all_rows_or_in_none(tmp_path):
    row = {"prompt": "x", "completion": "y"}
    for rows in ([row, {**row, "split": "test"}], [{**row, "split": "test"}, row]):
        with pytest.raises(InvalidInput, match="line 2, split: must be in all rows or in none"):
            list(load("single-turn", files=[write(tmp_path / "rows.jsonl", rows)]))


def test_what_cannot_be_loaded_is_told_before_anything_is_read():
    with pytest.raises(InvalidInput, match=r"name: unknown 'math'; did you mean 'math-hard'\?"):
        load("math")
    with pytest.raises(InvalidInput, match="file: is needed"):
        load("single-turn")
    with pytest.raises(InvalidInput, match="cannot be combined"):
        load("math-hard", files=["x.json"], repository="a/b")
