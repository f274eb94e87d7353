"""Medium: the newest articles that are short enough."""

import random
from datetime import UTC, datetime

import pytest

from foresight_services.core.errors import InvalidInput
from foresight_services.datasets import Options, Split, load
from foresight_services.datasets.medium import medium
from foresight_services.datasets.records import Record
from tests.unit.datasets.samples import article, count_words, write

OPTIONS = Options(count_tokens=count_words)


def titles(rows):
    return {row.task.metadata["title"] for row in rows}


def test_the_newest_are_taken_whatever_the_order(tmp_path):
    articles = [article(number) for number in range(1000)]
    in_order = list(load("medium", files=[write(tmp_path / "a.csv", articles)], options=OPTIONS))
    random.Random(5).shuffle(articles)
    shuffled = list(load("medium", files=[write(tmp_path / "b.jsonl", articles)], options=OPTIONS))
    assert titles(in_order) == {f"Title {number}" for number in range(975, 1000)}
    assert [row.split for row in in_order].count(Split.EVAL) == 5
    assert sorted(in_order, key=lambda row: row.id) == sorted(shuffled, key=lambda row: row.id)


def test_the_seed_says_which_of_them_are_held_out(tmp_path):
    path = write(tmp_path / "a.jsonl", [article(number) for number in range(1000)])
    held_out = [
        titles(
            load("medium", files=[path], split=Split.EVAL, options=Options(seed, None, count_words))
        )
        for seed in (1, 2, 1)
    ]
    assert held_out[0] == held_out[2] != held_out[1]


def test_long_ones_are_left_out_after_the_shares_were_taken(tmp_path):
    articles = [article(number, words=513 if number % 2 else 512) for number in range(1000)]
    found = list(load("medium", files=[write(tmp_path / "a.jsonl", articles)], options=OPTIONS))
    assert titles(found) == {f"Title {number}" for number in range(976, 1000, 2)}
    assert {row.task.metadata["tokens"] for row in found} == {"512"}


def test_a_task_asks_for_the_article(tmp_path):
    path = write(tmp_path / "a.csv", [article(number) for number in range(50)])
    (found,) = load("medium", files=[path], options=OPTIONS)
    text = article(49)["text"]
    assert (found.task.preset, found.task.reference) == ("document_editing", text)
    assert "Title 49" in found.task.goal
    assert found.task.goal.endswith(text)
    assert found.task.metadata == {
        "title": "Title 49",
        "tokens": "5",
        "timestamp": "2000-02-25T06:00:00+00:00",
        "url": "https://example.org/49",
    }


def test_what_was_scraped_in_part_is_no_task(tmp_path):
    articles = [article(number) for number in range(200)]
    articles[199] |= {"title": None}
    articles[198] |= {"text": " "}
    # Without a time it is not among the newest, nor counted.
    articles.append({**article(300), "timestamp": None})
    found = load("medium", files=[write(tmp_path / "a.jsonl", articles)], options=OPTIONS)
    assert titles(found) == {"Title 195", "Title 196", "Title 197"}


def test_times_are_compared_as_times(tmp_path):
    articles = [article(number) for number in range(98)]
    late = {**article(500), "timestamp": "2020-01-01 00:30:00+02:00"}
    later = {**article(501), "timestamp": "2019-12-31T23:00:00"}
    path = write(tmp_path / "a.jsonl", [later, *articles, late])
    assert titles(load("medium", files=[path], options=OPTIONS)) == {"Title 501", "Title 500"}


@pytest.mark.parametrize("timestamp", ["yesterday", 3, ["2020-01-01"]])
def test_a_time_that_is_none_is_told(timestamp, tmp_path):
    path = write(tmp_path / "a.jsonl", [{**article(1), "timestamp": timestamp}])
    with pytest.raises(InvalidInput, match="line 1, timestamp: must be a time as in ISO 8601"):
        list(load("medium", files=[path], options=OPTIONS))


@pytest.mark.parametrize("column", ["title", "text", "timestamp"])
def test_every_row_must_have_the_columns(column, tmp_path):
    rows = [article(1), {key: value for key, value in article(2).items() if key != column}]
    with pytest.raises(InvalidInput, match=f"line 2, {column}: is missing"):
        list(load("medium", files=[write(tmp_path / "a.jsonl", rows)], options=OPTIONS))


def test_a_token_counter_is_needed():
    with pytest.raises(InvalidInput, match="count_tokens: is needed"):
        load("medium", files=["a.csv"])


def test_times_of_tables_are_times_already():
    rows = [
        Record(f"row {n}", {**article(n), "timestamp": datetime(2020, 1, 1 + n % 28, tzinfo=UTC)})
        for n in range(50)
    ]
    (found,) = medium(lambda: iter(rows), OPTIONS)
    assert found.task.metadata["timestamp"].startswith("2020-01-28")
