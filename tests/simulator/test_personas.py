"""Personas: data, drawn from the seed by sample index."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from foresight_services.core.errors import InvalidInput
from foresight_services.core.seeds import derive_seed
from foresight_services.simulator.prompting.personas import NO_PERSONA, PersonaBook

ONE = (
    "- {name: NAME, patience: a, knowledge: b, typing: c, mistakes: d, language: e,"
    " traits: [f, g], weight: 3}\n"
)


def book(tmp_path: Path, text: str) -> PersonaBook:
    path = tmp_path / "personas.yaml"
    path.write_text(text, "utf-8")
    return PersonaBook(path)


def test_the_personas_that_ship_differ_and_can_all_be_drawn() -> None:
    personas = PersonaBook()

    assert len(personas.names) >= 8
    assert len({personas.describe(name) for name in personas.names}) == len(personas.names)
    drawn = {personas.draw(derive_seed(seed, 0, "persona")) for seed in range(300)}
    assert drawn == set(personas.names)


def test_equal_seeds_draw_equal_personas() -> None:
    one, other = PersonaBook(), PersonaBook()

    assert [one.draw(seed) for seed in range(50)] == [other.draw(seed) for seed in range(50)]


def test_a_persona_is_drawn_in_proportion_to_its_weight(tmp_path: Path) -> None:
    text = (
        "personas:\n"
        + ONE.replace("NAME", "often")
        + ONE.replace("NAME", "seldom").replace("weight: 3", "weight: 1")
    )
    personas = book(tmp_path, text)

    counts = Counter(personas.draw(seed) for seed in range(4000))

    assert 0.7 < counts["often"] / 4000 < 0.8


def test_a_persona_is_described_by_all_it_is(tmp_path: Path) -> None:
    personas = book(tmp_path, "personas:\n" + ONE.replace("NAME", "one"))

    assert personas.describe("one") == (
        "patience: a\nknowledge: b\ntyping: c\nmistakes: d\nlanguage: e\nf\ng"
    )
    assert personas.describe("") == NO_PERSONA


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("personas: []", "personas"),
        ("{}", "personas"),
        ("[", "cannot be read"),
        ("personas:\n- {name: one}", "personas.0.patience"),
        ("personas:\n" + ONE.replace("NAME", "Not A Name"), "personas.0.name"),
        ("personas:\n" + ONE.replace("NAME", "a").replace("weight: 3", "weight: 0"), "weight"),
        ("personas:\n" + ONE.replace("NAME", "a").replace("weight: 3", "weight: .nan"), "weight"),
        ("personas:\n" + ONE.replace("NAME", "a").replace("weight", "wait"), "personas.0.wait"),
        ("personas:\n" + ONE.replace("NAME", "a") * 2, "'a' is there twice"),
    ],
)
def test_a_wrong_file_names_itself_and_the_field(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        book(tmp_path, text)

    assert wrong in caught.value.message
    assert "personas.yaml" in caught.value.message


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml cannot be read"):
        PersonaBook(tmp_path / "nowhere.yaml")


def test_only_those_that_are_named_are_drawn() -> None:
    book = PersonaBook()
    chosen = book.names[3:6]
    assert {book.draw(seed, chosen) for seed in range(200)} == set(chosen)
    assert {book.draw(seed, chosen[:1]) for seed in range(20)} == {chosen[0]}
    assert [book.draw(seed, book.names) for seed in range(50)] == [
        book.draw(seed) for seed in range(50)
    ]
