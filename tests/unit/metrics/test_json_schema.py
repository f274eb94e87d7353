"""Whether a text is JSON that satisfies a schema."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import InvalidInput, Upstream
from foresight_services.core.objective import JsonValue
from foresight_services.metrics import json_schema
from foresight_services.metrics.json_schema import DEFINITION
from tests.fakes.subjects import score_text

# Numbers of parameters travel as doubles.
SCHEMA: JsonValue = {
    "type": "object",
    "properties": {"name": {"$ref": "#/$defs/name"}, "age": {"type": "integer", "minimum": 0.0}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"name": {"type": "string", "minLength": 2.0}},
}
FENCED = 'Here you are:\n\n```json\n{"name": "Ada"}\n```\nDone.'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"name": "Ada"}', 1.0),
        (' {"name": "Ada", "age": 36}\n', 1.0),
        ('{"name": "A"}', 0.0),
        ('{"name": "Ada", "age": -1}', 0.0),
        ('{"name": "Ada", "size": 3}', 0.0),
        ('{"name": "Ada", "age": NaN}', 0.0),
        ('{"name": "Ada"', 0.0),
        (FENCED, 0.0),
        ("[]", 0.0),
    ],
)
async def test_the_text_is_checked(text: str, value: float) -> None:
    assert (await score_text(DEFINITION, text, schema=SCHEMA)).value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [(FENCED, 1.0), ('{"name": "Ada"}', 1.0), (FENCED.replace("Ada", "A"), 0.0)],
)
async def test_the_json_may_stand_in_a_block(text: str, value: float) -> None:
    assert (await score_text(DEFINITION, text, schema=SCHEMA, fenced=True)).value == value


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"pattern": "("},
        {"$schema": "https://example.com/own-dialect"},
        {"$ref": 7.0},
        {"$ref": "https://example.com/schema.json"},
        {"properties": {"a": {"$ref": "#/$defs/absent"}}},
        {
            "items": [{"$ref": "file:///etc/passwd"}],
            "$schema": "http://json-schema.org/draft-07/schema#",
        },
    ],
)
async def test_a_schema_that_is_none_is_refused(schema) -> None:
    with pytest.raises(InvalidInput) as caught:
        await score_text(DEFINITION, "{}", schema=schema)
    assert caught.value.violations[0].field == "metrics[0].parameters.schema"


async def test_a_text_nested_deeper_than_the_parser_goes_has_no_score() -> None:
    with pytest.raises(Upstream, match="raised RecursionError"):
        await score_text(DEFINITION, "[" * 200_000, schema={"type": "array"})


async def test_a_pattern_that_takes_exponential_time_has_no_score(monkeypatch) -> None:
    await score_text(DEFINITION, "{}", schema={})
    monkeypatch.setattr(json_schema, "_SECONDS", 0.5)
    with pytest.raises(Upstream, match="took longer than 0.5 s"):
        await score_text(DEFINITION, f'"{"a" * 64}!"', schema={"pattern": "^(a+)+$"})
