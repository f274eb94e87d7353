from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from foresight_services.worlds.twenty_questions import (
    KnowledgeError,
    TwentyQuestions,
    load_knowledge,
    parse_knowledge,
)
from foresight_services.worlds.twenty_questions.knowledge import builtin_knowledge, members

SMALL = """
attributes:
  - {id: big, question: "Is it big?", phrases: [large], antonyms: [little]}
  - {id: red, question: "Is it red?", phrases: []}
things:
  - {name: barn, is: [big, red]}
  - {name: cherry, aliases: [Sour Cherry], is: [red]}
  - {name: ice, article: "", is: []}
"""


def test_builtin_knowledge_is_large_enough():
    knowledge = builtin_knowledge()
    assert len(knowledge.things) >= 64
    assert len(knowledge.attributes) >= 24


def test_builtin_things_differ_in_at_least_one_attribute():
    knowledge = builtin_knowledge()
    for one, other in combinations(range(len(knowledge.things)), 2):
        assert any(
            (attribute.things >> one & 1) != (attribute.things >> other & 1)
            for attribute in knowledge.attributes
        ), (knowledge.things[one].name, knowledge.things[other].name)


def test_builtin_attributes_hold_for_some_and_not_for_most():
    knowledge = builtin_knowledge()
    for attribute in knowledge.attributes:
        share = attribute.things.bit_count() / len(knowledge.things)
        assert 0.05 <= share <= 0.75, attribute.id


def test_builtin_facts_are_true():
    holders = {attribute.id: attribute.things for attribute in builtin_knowledge().attributes}

    def known(attribute: str) -> set[str]:
        return {builtin_knowledge().things[index].name for index in members(holders[attribute])}

    assert {"dog", "oak tree", "bee"} <= known("living")
    assert not known("living") & {"car", "hammer", "pizza"}
    assert known("mammal") < known("animal") < known("living")
    assert known("instrument") & known("plugged") == {"electric guitar"}
    assert known("flies") == {
        "eagle", "duck", "bee", "butterfly", "airplane", "helicopter", "hot air balloon", "kite"
    }  # fmt: skip


def test_every_alias_finds_its_thing():
    knowledge = builtin_knowledge()
    for index, thing in enumerate(knowledge.things):
        for name in (thing.name, thing.name.upper(), *thing.aliases):
            assert knowledge.find(f" {name} ") == index


def test_parse_reads_masks_aliases_and_articles():
    knowledge = parse_knowledge(SMALL, source="small.yaml")
    assert [attribute.things for attribute in knowledge.attributes] == [0b001, 0b011]
    assert [thing.guess for thing in knowledge.things] == [
        "Is it a barn?",
        "Is it a cherry?",
        "Is it ice?",
    ]
    assert knowledge.find("sour  CHERRY") == 1
    assert knowledge.everything == 0b111


def test_load_reads_a_users_own_file(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL, encoding="utf-8")
    world = TwentyQuestions(knowledge=load_knowledge(path))
    assert world.check_goal("barn") is None
    assert world.check_goal("elephant") is not None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("is: [red]", "is: [read]", "small.yaml: thing 'cherry': unknown attribute 'read'"),
        ("name: cherry", "name: barn", r"entry 2 of 'things': duplicate name 'barn'"),
        ("id: red", "id: big", r"entry 2 of 'attributes': duplicate id 'big'"),
        ("is: [red]", "is: [red, big]", "thing 'cherry': no attribute tells it from 'barn'"),
        ("Sour Cherry", "Barn", "thing 'cherry': 'Barn' already names 'barn'"),
        ("name: ice", "name: Ice", r"entry 3 of 'things': name 'Ice' must be lower case"),
        ("aliases:", "alias:", r"\('cherry'\): unknown key 'alias'; did you mean 'aliases'"),
        ("is: []", "is: red", "thing 'ice': 'is' must be a list of texts, not 'red'"),
        ("name: ice", "name: 7", "entry 3 of 'things': 'name' must be text, not 7"),
        ("things:", "secrets:", "the file: unknown key 'secrets'; did you mean 'things'"),
        ("attributes:", "attributes: [", "not valid YAML"),
    ],
)
def test_mistakes_are_errors_that_name_the_entry(old: str, new: str, complaint: str):
    with pytest.raises(KnowledgeError, match=complaint):
        parse_knowledge(SMALL.replace(old, new), source="small.yaml")


@pytest.mark.parametrize("text", ["", "[]", "attributes: []", "attributes: 3\nthings: 4", "- 1"])
def test_files_of_another_shape_are_errors(text: str):
    with pytest.raises(KnowledgeError, match="must be a"):
        parse_knowledge(text, source="small.yaml")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("phrases: []", "phrases: [large]", "attribute 'red': the phrase 'large' already means"),
        ("phrases: []", "phrases: [barn]", "thing 'barn': the phrase 'barn' already means"),
        ("phrases: []", "phrases: ['?']", r"attribute 'red': the phrase '\?' has no word"),
        ("Is it red?", "Red, is it?", "attribute 'red': the question .* is not understood"),
        ("phrases: []", "phrases: [a cherry]", "thing 'cherry': the guess .* is understood as"),
    ],
)
def test_words_that_cannot_be_told_apart_are_errors(old: str, new: str, complaint: str):
    knowledge = parse_knowledge(SMALL.replace(old, new), source="small.yaml")
    with pytest.raises(KnowledgeError, match=complaint):
        TwentyQuestions(knowledge=knowledge)
