"""`foresight metrics`: the metrics that an evaluator on this machine would have."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from foresight_services.cli.config_file import read_config
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.reward_json import write_json
from foresight_services.cli.terminal import one_line, output
from foresight_services.metrics.catalog import SHIPPED
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.plugins import load_definitions


def metrics(
    config: Annotated[
        str | None,
        typer.Option(help="Configuration of the evaluator.", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """List the metrics that objectives can name, those of installed packages included."""
    definitions = load_definitions(SHIPPED, enabled=read_config(config).evaluator.plugins)
    if as_json:
        write_json({"metrics": [_document(d) for _, d in sorted(definitions.items())]})
        return ExitCode.OK
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("metric", "unit", "better", "artifact", "parameters", "what it is"):
        table.add_column(column, overflow="fold")
    for name, definition in sorted(definitions.items()):
        table.add_row(
            one_line(name, 40),
            one_line(definition.unit, 40),
            str(definition.direction),
            "yes" if definition.artifact else "",
            "; ".join(_parameters(definition)),
            one_line(_summary(definition), 200),
        )
    output().print(table)
    return ExitCode.OK


def _summary(definition: Definition) -> str:
    """Return the first paragraph of the metric's documentation."""
    return " ".join((inspect.getdoc(definition.build) or "").split("\n\n")[0].split())


def _parameters(definition: Definition) -> Iterator[str]:
    for name, parameter in definition.parameters.items():
        yield one_line(f"{name}: {_values(parameter)}", 200)


def _values(parameter: Parameter) -> str:
    values = " | ".join(parameter.choices) or parameter.kind
    return f"{values}, required" if parameter.required else values


def _document(definition: Definition) -> Mapping[str, Any]:
    return {
        "name": definition.name,
        "version": definition.version,
        "unit": definition.unit,
        "direction": str(definition.direction),
        "artifact": definition.artifact,
        "needs_reference": definition.needs_reference,
        "description": _summary(definition),
        "parameters": {
            name: {
                "kind": parameter.kind,
                "choices": list(parameter.choices),
                "low": parameter.low,
                "high": parameter.high,
                "required": parameter.required,
                "description": parameter.description,
            }
            for name, parameter in definition.all_parameters.items()
        },
    }
