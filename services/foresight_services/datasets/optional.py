"""Libraries of the extra `data`, which files in text formats do without."""

from __future__ import annotations

import importlib
from typing import Any

from foresight_services.core.errors import Precondition, Reason


def optional_library(module: str) -> Any:
    """Return the module.

    Raises:
        Precondition: it is not installed; names the extra that has it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = error.name or module
        raise Precondition(
            Reason.SERVICE_UNAVAILABLE,
            f"the library {library!r} is missing: pip install 'foresight[data]'",
            metadata={"library": library, "extra": "data"},
        ) from error
