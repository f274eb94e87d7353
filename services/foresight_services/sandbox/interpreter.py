"""The interpreter that runs untrusted code, and which folders it needs."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import os
import sys
from dataclasses import dataclass
from typing import Final

from foresight_services.core.errors import Precondition, Reason

ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    # Numeric libraries start a thread for each CPU, with address space for each, unless told.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}
"""All that untrusted code finds in its environment, beside HOME and TMPDIR."""
_OUTPUT_BYTES: Final = 1 << 14
_PREFIXES: Final = (
    "import json, sys; "
    "print(json.dumps([sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter and what it needs to run."""

    command: tuple[str, ...]
    """The command that runs the supervisor."""
    prefixes: tuple[str, ...]
    """Folders that it is installed in."""
    hidden: tuple[str, ...]
    """Folders in them that untrusted code does not see: the service's own packages."""


def default_interpreter() -> Interpreter:
    """Return the interpreter that the service's environment was made from, without packages."""
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = [
        f"{prefix}/{library}/{folder}"
        for prefix in dict.fromkeys((sys.base_prefix, "/usr", "/usr/local"))
        for library in (f"lib/{version}", f"lib64/{version}", "lib/python3")
        for folder in ("site-packages", "dist-packages")
    ]
    return Interpreter(
        command=(python, "-I", "-S", "-B", "-c", source_of("supervisor")),
        prefixes=_with_targets((sys.base_prefix, sys.base_exec_prefix)),
        hidden=tuple(path for path in packages if os.path.isdir(path)),
    )


async def configured_interpreter(python: str) -> Interpreter:
    """Return the interpreter `python` with its packages; raises Precondition if it does not run."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(python, "-I", "-c", _PREFIXES),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        output, _ = await process.communicate()
        prefixes = json.loads(output[:_OUTPUT_BYTES])
    except (OSError, ValueError) as error:
        raise Precondition(
            Reason.SANDBOX_UNAVAILABLE,
            f"{python} (evaluator.sandbox.python) does not run: {type(error).__name__}",
        ) from error
    return Interpreter(
        command=(python, "-I", "-B", "-c", source_of("supervisor")),
        prefixes=_with_targets(prefixes),
        hidden=(),
    )


def _with_targets(prefixes: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return `prefixes` and what they are links to."""
    return tuple(dict.fromkeys(path for p in prefixes for path in (p, os.path.realpath(p))))


def source_of(name: str) -> str:
    """Return the text of a module of this package, for the interpreter inside the sandbox."""
    package = importlib.resources.files("foresight_services.sandbox")
    return package.joinpath(f"{name}.py").read_text(encoding="utf-8")
