"""Files of every format: what they hold, and what is told where they are broken."""

import sys
import tracemalloc

import pytest

from foresight_services.core.errors import InvalidInput, Precondition
from foresight_services.datasets import files
from foresight_services.datasets.files import file_rows
from tests.unit.datasets.samples import fake_pyarrow, write

ROWS = [{"a": "x", "b": "1\n2"}, {"a": "ü", "b": 'say "hi", please'}]


@pytest.mark.parametrize("name", ["f.json", "f.jsonl", "f.ndjson", "f.csv", "F.JSONL"])
def test_every_format_holds_the_same_rows(name, tmp_path):
    found = list(file_rows([write(tmp_path / name, ROWS)]))
    assert [dict(record.values) for record in found] == ROWS
    assert found[1].place.endswith(("row 2", "line 2"))


def test_files_follow_one_another_with_the_parts_of_their_names(tmp_path):
    paths = [
        write(tmp_path / "train" / "algebra.jsonl", ROWS[:1]),
        write(tmp_path / "coqa_abg_val.json", ROWS[1:]),
        write(tmp_path / "rows.csv", ROWS[:1]),
    ]
    assert [(r.part, r.values["a"]) for r in file_rows(paths)] == [
        ("train", "x"),
        ("val", "ü"),
        ("", "x"),
    ]


def test_a_document_may_have_its_rows_as_data(tmp_path):
    path = tmp_path / "f.json"
    path.write_text('{"version": "1.0", "data": [{"a": 1}]}')
    assert [dict(record.values) for record in file_rows([path])] == [{"a": 1}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.csv", "a,b\nx,y\n"),
        ("f.json", '[{"a": "x", "b": "y"}]'),
        ("f.jsonl", '{"a": "x", "b": "y"}'),
    ],
)
def test_a_byte_order_mark_is_none_of_the_first_column(name, content, tmp_path):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8-sig")
    assert [dict(record.values) for record in file_rows([path])] == [{"a": "x", "b": "y"}]


def test_blank_lines_are_no_rows_and_an_empty_field_is_no_value(tmp_path):
    lines = tmp_path / "f.jsonl"
    lines.write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert [record.place for record in file_rows([lines])] == [
        f"{lines}, line 2",
        f"{lines}, line 4",
    ]
    table = tmp_path / "f.csv"
    table.write_text("a,b\n\n,y\n")
    assert [dict(record.values) for record in file_rows([table])] == [{"a": None, "b": "y"}]


BROKEN: dict[str, tuple[str, str | bytes, str]] = {
    "json cut off": ("f.json", '[{"a": 1}', "f.json: is not JSON: Expecting"),
    "json scalar": ("f.json", "3", "f.json: must be a list of objects"),
    "json object": ("f.json", '{"rows": []}', "f.json: must be a list of objects"),
    "json row": ("f.json", '[{"a": 1}, [2]]', "f.json, row 2: must be an object, not a list"),
    "line cut off": ("f.jsonl", '{"a": 1}\n{"a": ', "f.jsonl, line 2: is not JSON"),
    "line is text": ("f.jsonl", '"a"', "f.jsonl, line 1: must be an object, not text"),
    "NaN": ("f.jsonl", '{"a": NaN}', "line 1: is not JSON: NaN is no number of JSON"),
    "key twice": ("f.jsonl", '{"a": 1, "a": 2}', "line 1: is not JSON: the key 'a' is there twice"),
    "digits": ("f.jsonl", f'{{"a": {"9" * 5000}}}', "line 1: is not JSON: Exceeds the limit"),
    "deep": ("f.jsonl", "[" * 100_000, "line 1: is nested too deeply"),
    "not utf-8": ("f.jsonl", b'{"a": "\xff"}', "line 1: is not UTF-8 text"),
    "python": ("f.jsonl", "__import__('os').system('true')", "line 1: is not JSON"),
    "csv not utf-8": ("f.csv", b"a\n\xff\n", "f.csv, line 2: is not UTF-8 text"),
    "csv short": ("f.csv", "a,b,c\n1,2,3\n1\n", "f.csv, row 2, b: is missing"),
    "csv long": ("f.csv", "a\n1,2\n", "row 1: has 2 fields, but the header has 1"),
    "csv header": ("f.csv", "a,b,a\n", "header: has the column 'a' twice"),
    "csv quote": ("f.csv", 'a\n"1\n2\n', "f.csv, line 3: is not CSV: unexpected end of data"),
    "format": ("f.pkl", b"\x80\x04.", "has a format that is unknown '.pkl' (known: .csv"),
    "yaml": ("f.yaml", "!!python/object/apply:os.system [x]", "unknown '.yaml'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_told_with_its_place(name, tmp_path):
    file, content, message = BROKEN[name]
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput) as raised:
        list(file_rows([path]))
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InvalidInput, match=r"none\.jsonl: cannot be read: No such file"):
        list(file_rows([tmp_path / "none.jsonl"]))
    folder = tmp_path / "folder.json"
    folder.mkdir()
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        list(file_rows([folder]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.jsonl", f'{{"a": 1}}\n{{"a": "{"x" * 1000}"}}', "line 2: has more than 1000 bytes"),
        ("f.csv", f"a\n{'x' * 1000}y\n", "line 2: has more than 1000 bytes"),
        ("f.csv", 'a,b\n"' + "x\n" * 600, "is in a row of more than 1000 bytes"),
        ("f.csv", "a,b\n" + '"x\n",' * 300, "is in a row of more than 1000 bytes"),
        ("f.json", f"[{' ' * 2000}]", "has more than 2000 bytes; JSON Lines have no such limit"),
    ],
)
def test_a_row_and_a_document_have_limits(name, content, message, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 2000)
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        list(file_rows([path]))


def test_a_long_field_of_csv_is_no_error(tmp_path):
    path = write(tmp_path / "f.csv", [{"a": "x" * 200_000}])
    assert [len(record.text("a")) for record in file_rows([path])] == [200_000]


@pytest.mark.parametrize("name", ["f.jsonl", "f.csv"])
def test_memory_does_not_grow_with_the_file(name, tmp_path):
    path = write(tmp_path / name, [{"a": "x" * 10_000}] * 2_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in file_rows([path])) == 2_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 20


def test_rows_come_before_the_file_was_read_to_its_end(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": 1}\nbroken')
    rows = file_rows([path])
    assert next(rows).values == {"a": 1}
    with pytest.raises(InvalidInput, match="line 2"):
        next(rows)


def test_parquet_is_read_batch_by_batch(tmp_path, monkeypatch):
    rows = [{"a": str(number)} for number in range(150)]
    for name, module in fake_pyarrow(rows).items():
        monkeypatch.setitem(sys.modules, name, module)
    path = tmp_path / "test-00000-of-00001.parquet"
    path.write_bytes(b"PAR1")
    found = list(file_rows([path]))
    assert [record.values for record in found] == rows
    assert (found[-1].place, found[-1].part) == (f"{path}, row 150", "test")
    path.write_bytes(b"secret text of the file")
    with pytest.raises(InvalidInput, match="is not Parquet that can be read: ArrowError") as raised:
        list(file_rows([path]))
    assert "secret" not in str(raised.value)


def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Precondition) as raised:
        list(file_rows([tmp_path / "f.parquet"]))
    assert str(raised.value) == "the library 'pyarrow' is missing: pip install 'foresight[data]'"
