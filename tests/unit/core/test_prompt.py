"""Prompt files: their fields, what is wrong with them, and what they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from foresight_services.core.errors import InvalidInput
from foresight_services.core.prompt import Prompt, PromptFiles, PromptSpec, parse_prompt

SPEC = PromptSpec("letter", required=frozenset({"goal"}), optional=frozenset({"persona"}))


def parse(text: str) -> Prompt:
    return parse_prompt(SPEC, text, "letter.txt")


def test_fields_are_filled_in_and_values_are_not_searched_for_fields() -> None:
    prompt = parse("Want: {goal}. Who: {persona}.")

    assert (
        prompt.render(goal="{persona} and {x}", persona="me") == "Want: {persona} and {x}. Who: me."
    )


def test_other_braces_are_text() -> None:
    text = 'Reply {"goal": "x", "n": {}} or {1} or {{goal}}: {goal}'

    assert parse(text).render(goal="G") == 'Reply {"goal": "x", "n": {}} or {1} or {goal}: G'


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{goal}", "G"),
        ("{goal}\n", "G"),
        ("{goal}\r\n", "G"),
        ("{goal}\n\n", "G\n"),
        ("{goal}\r\n\r\n", "G\r\n"),
        ("{goal} \n", "G "),
        ("{goal} \t", "G \t"),
        ("\n {goal}\n", "\n G"),
        ("{goal}\n\f", "G\n\f"),
        ("{goal}\r", "G\r"),
    ],
)
def test_one_line_break_at_the_end_is_no_part_of_it_and_all_else_is(
    text: str, rendered: str
) -> None:
    assert parse(text).render(goal="G") == rendered


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("no field at all", "letter.txt lacks the field {goal}"),
        ("{{goal}} is text", "letter.txt lacks the field {goal}"),
        ("{goal}\n{gaol}", "letter.txt, line 2: {gaol} is no field: unknown 'gaol'; did you mean"),
        ("{goal} {Goal}", "{Goal} is no field: unknown 'Goal'"),
        ("{goal} { goal }", "{ goal } is no field"),
        ("{goal} {reference}", "(known: goal, persona)"),
        ("{goal}" + "x" * 200_000, "longer than 200000 characters"),
    ],
)
def test_a_wrong_prompt_names_file_and_field(text: str, wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text)

    (violation,) = caught.value.violations
    assert violation.field == "prompts.letter"
    assert wrong in violation.description


def test_every_wrong_field_is_listed() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse("{a} {b}")

    assert len(caught.value.violations) == 3


def test_a_prompt_without_fields_says_so() -> None:
    with pytest.raises(InvalidInput, match="this prompt has no fields"):
        parse_prompt(PromptSpec("plain"), "{goal}", "plain.txt")


def test_the_digest_tells_texts_apart() -> None:
    assert parse("{goal}").digest == parse("{goal}\n").digest
    assert parse("{goal}").digest != parse("{goal}!").digest


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    folder.joinpath("letter.txt").write_text("Ours: {goal}\n", "utf-8")
    folder.joinpath("plain.txt").write_text("Plain.", "utf-8")
    return folder


SPECS = (SPEC, PromptSpec("plain"))


def test_a_file_of_the_operators_replaces_the_one_that_ships(shipped: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("Mine: {goal}", "utf-8")

    ours, replaced = PromptFiles(SPECS, shipped), PromptFiles(SPECS, shipped, {"letter": mine})

    assert ours["letter"].render(goal="G") == "Ours: G"
    assert replaced["letter"].render(goal="G") == "Mine: G"
    assert replaced["plain"] == ours["plain"]
    assert replaced.digest != ours.digest


def test_a_file_is_sent_byte_for_byte(shipped: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    written = "\ufeff  Ÿ\r\n{goal}\r \u2028\x85\n \r\n\n".encode()
    mine.write_bytes(written)

    prompts = PromptFiles(SPECS, shipped, {"letter": mine})

    assert prompts["letter"].render(goal="{goal}").encode() + b"\n" == written


def test_an_empty_file_is_an_empty_prompt(shipped: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    for text in ("", "\n"):
        mine.write_bytes(text.encode())
        assert PromptFiles(SPECS, shipped, {"plain": mine})["plain"].render() == ""


def test_everything_that_is_wrong_is_listed(shipped: Path, tmp_path: Path) -> None:
    wrong, binary = tmp_path / "wrong.txt", tmp_path / "binary.txt"
    wrong.write_text("{gaol}", "utf-8")
    binary.write_bytes(b"\xff\xfe\xff")
    replaced = {"leter": wrong, "letter": wrong, "plain": binary}

    with pytest.raises(InvalidInput) as caught:
        PromptFiles(SPECS, shipped, replaced)

    told = "\n".join(f"{v.field}: {v.description}" for v in caught.value.violations)
    assert "prompts.leter: unknown 'leter'; did you mean 'letter'?" in told
    assert f"prompts.letter: {wrong}, line 1: {{gaol}} is no field" in told
    assert f"prompts.plain: {binary} cannot be read" in told


def test_a_file_that_is_missing_is_named(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.txt cannot be read"):
        PromptFiles(SPECS, shipped, {"plain": tmp_path / "nowhere.txt"})
