"""The configuration of a command, with every way in which a file can be broken told in one line."""

from __future__ import annotations

import os
from pathlib import Path

from foresight_services.cli.failures import wrong
from foresight_services.config import Config, load_config


def read_config(path: str | None) -> Config:
    """Return the configuration in `path`, else in FORESIGHT_CONFIG, else the default one.

    Raises:
        InvalidInput: with every field or variable that is wrong.
    """
    try:
        return load_config(None if path is None else Path(path))
    except RecursionError as error:
        raise wrong(config_source(path) or "(file)", "is nested too deeply") from error
    except ValueError as error:
        # What YAML takes for a date or a number may be none.
        raise wrong(config_source(path) or "(file)", str(error)) from error


def config_source(path: str | None) -> str | None:
    """Return the file that `read_config` reads for `path`, None where it reads none."""
    return path or os.environ.get("FORESIGHT_CONFIG") or None
