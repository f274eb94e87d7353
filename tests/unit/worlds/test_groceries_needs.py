"""The needs file: what the packaged one holds, and which mistakes in a file are refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from foresight_services.worlds import groceries
from foresight_services.worlds.groceries import Groceries
from foresight_services.worlds.groceries.needs import decode_knowledge, load_knowledge

DOCUMENT: dict[str, Any] = {
    "impatience": 0.2,
    "needs": [
        {
            "id": "size",
            "label": "the size",
            "question": "Which size?",
            "matters": 0.5,
            "assumed": "small",
            "asked_by": ["size"],
            "values": [
                {
                    "name": "small",
                    "probability": 0.5,
                    "says": "Small, please.",
                    "heard_as": ["small"],
                },
                {"name": "big", "probability": 0.5, "says": "Big, please.", "heard_as": ["big"]},
            ],
        }
    ],
}


def document() -> dict[str, Any]:
    return copy.deepcopy(DOCUMENT)


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_packaged_needs_are_about_eight_and_distinct() -> None:
    needs = load_knowledge().needs
    assert len(needs) == 8
    assert len({need.id for need in needs}) == 8
    assert {"address", "budget", "diet", "allergies", "household", "time"} < {n.id for n in needs}


@pytest.mark.parametrize("need", load_knowledge().needs, ids=lambda need: need.id)
def test_packaged_values_form_a_distribution(need: groceries.needs.Need) -> None:
    assert sum(value.probability for value in need.values) == pytest.approx(1)
    assert 0 < need.matters < 1
    assert need.value(need.assumed).name == need.assumed
    assert 0 < need.risk < need.matters


def test_assuming_the_address_is_wrong_most_of_the_time() -> None:
    needs = load_knowledge().needs
    address = next(need for need in needs if need.id == "address")
    assert address.matters >= 0.9
    assert address.value(address.assumed).probability <= 0.3
    assert address.risk == max(need.risk for need in needs)


def test_value_of_another_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        load_knowledge().needs[0].value("the moon")


def test_own_needs_file_defines_the_world(tmp_path: Path) -> None:
    world = Groceries(write(tmp_path / "own.yaml", DOCUMENT))
    assert world.check_goal("size: big") is None
    assert world.check_goal("address: 12 Oak Lane") is not None
    assert world.knowledge.impatience == 0.2


def test_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    broken = document() | {"impatience": 2}
    with pytest.raises(ValueError, match=r"own\.yaml: impatience must be a number from 0 to 1"):
        load_knowledge(write(tmp_path / "own.yaml", broken))


def test_file_that_is_no_yaml_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("needs: [")
    with pytest.raises(ValueError, match="own.yaml"):
        load_knowledge(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(patience=1), "the file: unknown key 'patience'"),
        (lambda d: d.pop("impatience"), "the file: missing key 'impatience'"),
        (lambda d: d.update(impatience=True), "impatience must be .*, not True"),
        (lambda d: d.update(impatience="0.1"), "impatience must be .*, not '0.1'"),
        (lambda d: d.update(needs=[]), "needs must be a list with at least one entry"),
        (lambda d: d.update(needs=["size"]), "need 1 must have the keys"),
        (lambda d: d["needs"].append(d["needs"][0]), "need id 'size' occurs twice"),
        (lambda d: d["needs"][0].update(matters=1), "matters must be above 0 and below 1, not 1.0"),
        (lambda d: d["needs"][0].update(matters=0), "matters must be above 0 and below 1, not 0.0"),
        (lambda d: d["needs"][0].update(matters=float("nan")), "matters must be a number"),
        (lambda d: d["needs"][0].update(assumed="huge"), "assumed must be one of small, big"),
        (lambda d: d["needs"][0].update(id="a: b"), "must have no ':', ';' or outer spaces"),
        (lambda d: d["needs"][0].update(label=" "), "label must be text"),
        (lambda d: d["needs"][0].update(asked_by="size"), "asked_by must be a list"),
        (lambda d: d["needs"][0].update(asked_by=[7]), "asked_by must be text, not 7"),
        (lambda d: d["needs"][0].update(colour="red"), "need 1: unknown key 'colour'"),
        (lambda d: d["needs"][0]["values"].pop(), "sum to 0.5, not 1"),
        (lambda d: d["needs"][0]["values"][0].update(probability=0), "must be above 0"),
        (lambda d: d["needs"][0]["values"][0].update(name="Big"), "'big' occurs twice"),
        (lambda d: d["needs"][0]["values"][0].pop("says"), "missing key 'says'"),
    ],
)
def test_mistakes_in_the_needs_are_refused(change: Any, message: str) -> None:
    broken = document()
    change(broken)
    with pytest.raises(ValueError, match=message):
        decode_knowledge(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n.update(question="What do you want?"), "does not read as a question about"),
        (lambda n: n.update(question="I like your size."), "'I like your size.' does not read"),
        (lambda n: n.update(label="the colour"), "does not read as 'size: no matter'"),
        (lambda n: n["values"][0].update(says="The tiny one."), "does not read as 'size: small'"),
        (
            lambda n: n["values"][0].update(says="Not small."),
            "'Not small.' does not read as 'size: small'",
        ),
        (lambda n: n["values"][0].update(says="A small one"), "'A small one' must end with"),
        (lambda n: n["values"][0].update(heard_as=["small", "BIG"]), "'big' stands for two things"),
        (lambda n: n.update(asked_by=["size", "small"]), "'small' stands for two things"),
        (lambda n: n.update(asked_by=["size", "!"]), "has no word in it"),
        (lambda n: n["values"][0]["heard_as"].append("order"), "occurs in \"I'll place"),
    ],
)
def test_sentences_that_would_be_misread_are_refused(
    change: Any, message: str, tmp_path: Path
) -> None:
    broken = document()
    change(broken["needs"][0])
    with pytest.raises(ValueError, match=message):
        Groceries(write(tmp_path / "own.yaml", broken))
