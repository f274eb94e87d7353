"""Whether a text is JSON that satisfies a schema."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.fenced import longest_block
from foresight_services.metrics.offload import workers
from foresight_services.metrics.optional import require_library
from foresight_services.metrics.tools import Tools

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_SECONDS: Final = 10.0
_FIELD: Final = "metric.parameters.schema"
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
"""The dialect of a schema that names none."""

_SHOWN: Final = 200


class JsonSchema:
    """1 where the text is JSON that satisfies the schema, else 0; more is better.

    Inputs: the artifact or the last reply of the assistant. Parameters: `schema` (required), a JSON
    schema, of draft 2020-12 unless its `$schema` says otherwise, whose references stay inside it:
    nothing is ever fetched; `fenced` (default false), whether the JSON may stand in a Markdown
    block, of which the longest counts. `NaN` and `Infinity` are no JSON. A text that cannot be
    checked in 10 seconds, or that nests deeper than the parser goes, fails without a score.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del setup, tools
        require_library("json_schema", "jsonschema")
        self.info = MetricInfo("json_schema", "1", Range(0.0, 1.0))
        self._spec = spec
        self._schema = json.dumps(spec.parameters["schema"], default=dict, sort_keys=True)
        self._fenced = spec.parameters.get("fenced") is True

    async def prepare(self) -> None:
        """Check the schema."""
        problem = await workers().call(schema_problem, _SECONDS, "json_schema", self._schema)
        if problem is not None:
            raise InvalidInput((Violation(_FIELD, problem),))

    async def score(self, subject: Subject) -> Score:
        """Check the text, in a worker: a pattern of the schema can take exponential time."""
        text = await scored_text(self._spec, subject)
        if self._fenced:
            text = longest_block(text, ("json",))
        good = await workers().call(satisfies, _SECONDS, "json_schema", text, self._schema)
        return Score(1.0 if good else 0.0)


def schema_problem(schema: str) -> str | None:
    """Return what is wrong with the JSON schema in `schema`, or None."""
    from jsonschema.exceptions import SchemaError
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, UnknownDialect, specification_with

    loaded = json.loads(schema)
    try:
        # Else an unknown dialect would pass for the default draft.
        specification_with(str(loaded.get("$schema", DRAFT)))
        _validator(schema).check_schema(loaded)
        resource = Resource.from_contents(loaded, default_specification=DRAFT202012)
    except SchemaError as error:
        where = "/".join(str(step) for step in error.absolute_path)
        return f"is no JSON schema at /{where}: {error.message}"[:_SHOWN]
    except UnknownDialect as error:
        return f"has an unknown $schema, {error.uri!r}"[:_SHOWN]
    registry: Registry[Any] = Registry()
    resolver = registry.resolver_with_root(resource)
    for reference in _references(loaded):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            return f"refers to {reference!r}, which is not in it"[:_SHOWN]
    return None


def satisfies(text: str, schema: str) -> bool:
    """Return whether `text` is JSON that satisfies `schema`."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError:
        return False
    return bool(_validator(schema).is_valid(value))


@functools.lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    loaded = json.loads(schema)
    registry: Registry[Any] = Registry()
    return validator_for(loaded, default=Draft202012Validator)(loaded, registry=registry)


def _no_constant(name: str) -> float:
    raise json.JSONDecodeError("no JSON", name, 0)


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


DEFINITION: Final = Definition(
    "json_schema",
    JsonSchema,
    parameters={
        "schema": Parameter("mapping", required=True, description="JSON schema"),
        "fenced": Parameter("flag", description="take the JSON out of a Markdown block"),
    },
    artifact=True,
    uses=frozenset(),
    libraries=("jsonschema", "referencing"),
)
