"""The hub, through a module that stands for the library `datasets`."""

import sys

import pytest

from foresight_services.core.errors import InvalidInput, Precondition, Upstream
from foresight_services.datasets import load
from foresight_services.datasets.hub import hub_rows
from tests.unit.datasets.samples import CODE, MATH, fake_datasets


@pytest.fixture
def published(monkeypatch):
    """Let the hub have these parts; returns the calls that are made."""

    def publish(parts, **options):
        calls: list[tuple[str, dict[str, object]]] = []
        monkeypatch.setitem(sys.modules, "datasets", fake_datasets(parts, calls=calls, **options))
        return calls

    return publish


def test_rows_are_streamed_with_their_parts(published):
    def endless():
        number = 0
        while True:
            yield {"a": number}
            number += 1

    calls = published({"train": [{"a": "x"}], "test": endless()})
    rows = hub_rows("owner/name")
    found = [next(rows) for _ in range(3)]
    assert [(r.part, r.place) for r in found] == [
        ("train", "owner/name, train, row 1"),
        ("test", "owner/name, test, row 1"),
        ("test", "owner/name, test, row 2"),
    ]
    # Nothing that would let a repository run code.
    assert calls == [("owner/name", {"streaming": True})]


def test_a_data_set_has_its_own_repository_unless_another_is_named(published):
    calls = published({"train": [MATH], "test": [{**MATH, "problem": "Another?"}]})
    assert [row.split for row in load("math-hard")] == ["train", "eval"]
    assert [row.split for row in load("math-hard", repository="me/mine")] == ["train", "eval"]
    assert [repository for repository, _ in calls] == ["lighteval/MATH-Hard", "me/mine"]


def test_one_release_of_bigcodebench_is_read(published):
    published({"v0.1.1": [{}], "v0.1.2": [CODE]})
    assert [row.task.metadata["task_id"] for row in load("bigcodebench")] == ["BigCodeBench/0"]
    published({"v0.1.1": [CODE]})
    with pytest.raises(
        InvalidInput, match=r"no such part: unknown 'v0.1.2'; did you mean 'v0.1.1'"
    ):
        next(load("bigcodebench"))


def test_rows_that_are_none_are_told(published):
    published({"train": [["a"]]})
    with pytest.raises(
        InvalidInput, match="owner/name, train, row 1: must be an object, not a list"
    ):
        next(hub_rows("owner/name"))


def test_a_hub_that_cannot_be_read_is_told(published):
    published(ConnectionError("Couldn't reach the hub\nsecond line"))
    with pytest.raises(Upstream) as raised:
        next(hub_rows("owner/name"))
    assert str(raised.value) == (
        "owner/name cannot be read from the hub: ConnectionError: Couldn't reach the hub"
    )


def test_what_breaks_off_is_told_without_its_text(published):
    def breaking():
        yield {"a": "x"}
        raise ValueError("secret text of a row")

    published({"train": breaking()})
    rows = hub_rows("owner/name")
    next(rows)
    with pytest.raises(Upstream, match="ValueError: while reading rows") as raised:
        next(rows)
    assert "secret" not in str(raised.value)


def test_a_library_that_may_run_code_is_refused(published):
    calls = published({"train": []}, version="3.6.0")
    with pytest.raises(Precondition, match=r"version 3\.6\.0, which may run code"):
        next(hub_rows("owner/name"))
    assert calls == []


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(Precondition) as raised:
        next(load("math-hard"))
    assert str(raised.value) == "the library 'datasets' is missing: pip install 'foresight[data]'"
    assert raised.value.metadata == {"library": "datasets", "extra": "data"}
