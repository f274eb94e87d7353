"""Starts programs where no namespace isolates them: in a container that is the sandbox, or nowhere.

What remains are limits, a process and a folder of its own, an empty environment, the filter of
system calls and, for a service that is root, another user. Programs can read what that user can
read, reach the network that the service reaches and, if the user is the service's own, kill it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from foresight_services.sandbox.interpreter import ENVIRONMENT, Interpreter
from foresight_services.sandbox.port import Limits
from foresight_services.sandbox.process import Launch
from foresight_services.sandbox.seccomp import build_filter

_FIRST_USER: Final = 60_000
"""Users from here upwards belong to nobody on an ordinary system."""


class BareLauncher:
    """Composes the command of each run; implements the port `Launcher`."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        program = build_filter(os.uname().machine)
        self._filter = None if program is None else program.hex()
        # A root service whose interpreter other users cannot read has no user to lend.
        self._lends = os.geteuid() == 0 and all(
            _open_to_others(prefix) for prefix in interpreter.prefixes
        )

    def launch(self, slot: int, limits: Limits, scratch: str) -> Launch:
        """Return the command of a run, the `slot`-th of those that run at once."""
        uid = _FIRST_USER + slot if self._lends else None
        if uid is not None:
            os.chown(scratch, uid, uid)
        return Launch(
            before=(),
            interpreter=self._interpreter.command,
            environment={**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch},
            scratch=scratch,
            uid=uid,
            id_map=None,
            own_namespace=False,
            tmpfs=(),
            syscall_filter=self._filter,
        )


def _open_to_others(path: str) -> bool:
    """Whether users without rights of their own can reach `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in (Path(path), *Path(path).parents))
