"""`foresight check-config`: whether a configuration is right, and what it amounts to."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
import yaml

from foresight_services.bootstrap import check
from foresight_services.cli.config_file import config_source, read_config
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.reward_json import write_json
from foresight_services.cli.terminal import one_line


def check_config(
    file: Annotated[
        str | None,
        typer.Argument(
            help="Configuration file. Default: FORESIGHT_CONFIG, else the defaults.", metavar="FILE"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of YAML.")
    ] = False,
) -> int:
    """Check a configuration and print it with its defaults; secrets are never shown.

    What is wrong is told in one line for each problem: the field's path and what would be right.
    """
    config = read_config(file)
    check(config)
    source, effective = config_source(file), config.model_dump(mode="json")
    if as_json:
        secrets = {"FORESIGHT_TOKEN": "hidden" if config.token else None}
        write_json({"source": source, "config": effective, "secrets": secrets})
        return ExitCode.OK
    token = "set, not shown" if config.token else "not set"
    sys.stdout.write(
        f"# {one_line(source) if source else 'No file: the defaults'}\n"
        f"# FORESIGHT_TOKEN: {token}\n"
        f"{yaml.safe_dump(effective, sort_keys=False)}"
    )
    return ExitCode.OK
