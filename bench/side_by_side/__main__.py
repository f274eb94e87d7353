"""Starts `run` once gRPC is told to be silent, which it reads when it is imported."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Return the exit status of the run."""
    # Else it tells of every process that is started beside an open channel.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from bench.side_by_side import run

    return run.main()


if __name__ == "__main__":
    sys.exit(main())
