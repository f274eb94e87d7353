"""The command `foresight`. Importing this package needs the client's dependencies alone.

`main` loads the commands, runs one of them, and turns whatever ends it into an exit code.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

from foresight_services.cli.streams import sound_streams

_EXTRA: Final = frozenset(
    ("grpc_health", "grpc_reflection", "prometheus_client", "pydantic", "rich", "typer", "yaml")
)
"""Modules of the extra `services`, less the optional ones."""


def main() -> int:
    """Run the command that `sys.argv` names and return its exit code."""
    # gRPC's own log lines would stand between ours; what they tell arrives as errors as well.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        with sound_streams():
            from foresight_services.cli.app import run_command

            return run_command(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("cancelled\n")
        return 128 + signal.SIGINT
    except OSError as error:
        sys.stderr.write(f"foresight: {error.strerror or error}\n")
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            f"foresight: the module {error.name!r} is missing; this command needs the services:"
            " pip install 'foresight[services]'\n"
        )
        return 2
