"""Documents: values as in YAML 1.2 and JSON, and nothing that could surprise or overwhelm."""

import math

import pytest

from foresight_services.cli.document import MAX_DEPTH, DocumentError, parse_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes", {"a": "yes"}),
        ("a: 2026-01-31", {"a": "2026-01-31"}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: 1e-3", {"a": 0.001}),
        ("a: -.5", {"a": -0.5}),
        ("a: 010", {"a": 10}),
        ("a: +7", {"a": 7}),
        ("a: true", {"a": True}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: ''", {"a": ""}),
        ("a: '7'", {"a": "7"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("1: x", {"1": "x"}),
        ("- a\n- [b, {c: d}]", ["a", ["b", {"c": "d"}]]),
        ("{a: b}", {"a": "b"}),
        ('{"a": "\\ud83d\\ude00", "b": [1, 2.5, null]}', {"a": "😀", "b": [1, 2.5, None]}),
        ("", None),
        ("# nothing", None),
    ],
)
def test_values(text, value):
    assert parse_document(text) == value


def test_numbers_beyond_measure_are_no_integers():
    assert parse_document("a: " + "9" * 5000) == {"a": math.inf}
    assert parse_document('{"a": ' + "9" * 5000 + "}") == {"a": math.inf}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", r"is not YAML: .*\(line 2, column 1\)"),
        ("a: b: c", r"is not YAML: .*\(line 1, column 5\)"),
        ("{a: 'x", "is not YAML"),
        ("a: \x00", "is not YAML"),
        ("a: 1\nb: 2\na: 3", r"has the key 'a' twice \(line 3"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice in one mapping"),
        ('{"a": NaN}', "has the number NaN"),
        ("a: &x 1\nb: *x", "has an anchor or alias"),
        ("b: *x", "has an anchor or alias"),
        ("a: !!python/object:os.system x", "has the tag"),
        ("a: 1\n---\nb: 2", "holds a second document"),
        ("[a, b]: 1", "has a key that is no text"),
        ("[" * 100_000, "nested more than 50 levels deep"),
        ("[" * 1000 + "]" * 1000, "nested more than 50 levels deep"),
        ('{"a":' * 100_000, "nested more than 50 levels deep"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested more than 50 levels deep"),
    ],
    ids=range(16),
)
def test_what_is_refused(text, problem):
    with pytest.raises(DocumentError, match=problem) as caught:
        parse_document(text)
    assert "\n" not in str(caught.value)


def test_depth_is_limited_and_no_less():
    assert parse_document("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(DocumentError):
        parse_document("- " * (MAX_DEPTH + 2) + "x")
