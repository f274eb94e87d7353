"""Starts the supervisor of one program, and ends it with all its children.

Invariants: nothing here blocks the event loop; whoever leaves `started`, by cancellation too,
leaves no process and no open file behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Final

from foresight_services.sandbox.channel import StreamChannel
from foresight_services.sandbox.port import Limits, Program

_INFO_BYTES: Final = 1 << 12
GRACE_SECONDS: Final = 5.0
"""For a process that was told to end, and for what is left in its pipes."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the supervisor of one program is started."""

    before: tuple[str, ...]
    """The command that makes the sandbox; empty for none."""
    interpreter: tuple[str, ...]
    """The command that runs the supervisor."""
    environment: Mapping[str, str]
    """All environment variables."""
    scratch: str
    """The folder that the program may write to, as it is called inside."""
    uid: int | None
    """User and group, as they are called inside, that the program becomes; None to stay."""
    id_map: str | None
    """Users and groups of the new user namespace, which the service writes; None where `before`
    makes one by itself, or none."""
    own_namespace: bool
    """Whether the program's processes are in a namespace that dies with its first process."""
    tmpfs: tuple[str, ...]
    """Folders inside that have a bounded size and whose files are counted."""
    syscall_filter: str | None
    """The seccomp filter in hexadecimal digits; None for none."""


@dataclass(frozen=True, slots=True)
class Started:
    """A supervisor that runs, and the service's ends of what connects to it."""

    stdout: asyncio.StreamReader
    """The program's standard output."""
    stderr: asyncio.StreamReader
    """The program's standard error, and before it begins that of the sandbox."""
    status: asyncio.StreamReader
    """What the supervisor says."""
    channel: StreamChannel
    """What the program says."""
    process: asyncio.subprocess.Process
    """The outermost process."""
    own_namespace: bool
    """Whether its children die with it."""

    async def end(self) -> None:
        """End the program and all its children, whether they run or not."""
        await _end(self.process, self.own_namespace)


@contextlib.asynccontextmanager
async def started(launch: Launch, program: Program, limits: Limits) -> AsyncIterator[Started]:
    """Start a supervisor that runs `program`; kill it and all its children on leaving."""
    async with AsyncExitStack() as stack:
        theirs = stack.enter_context(contextlib.ExitStack())
        stdout, stdout_fd = await _pipe(stack, theirs)
        stderr, stderr_fd = await _pipe(stack, theirs)
        status, status_fd = await _pipe(stack, theirs)
        ours, channel = socket.socketpair()
        theirs.callback(channel.close)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        stack.callback(writer.close)
        order = _order(launch, program, limits, status_fd, channel.fileno())
        mapping = await _Mapping.open(stack, theirs) if launch.id_map is not None else None
        process = await asyncio.create_subprocess_exec(
            *launch.before,
            *(mapping.options if mapping else ()),
            *launch.interpreter,
            stdin=asyncio.subprocess.PIPE,
            stdout=stdout_fd,
            stderr=stderr_fd,
            env=launch.environment,
            pass_fds=(status_fd, channel.fileno(), *(mapping.fds if mapping else ())),
            start_new_session=True,
            cwd="/",
        )
        stack.push_async_callback(_end, process, launch.own_namespace)
        theirs.close()
        if mapping is not None and launch.id_map is not None:
            await mapping.write(launch.id_map)
        await _give(process, order)
        talk = StreamChannel(reader, writer)
        yield Started(stdout, stderr, status, talk, process, launch.own_namespace)


async def _pipe(
    stack: AsyncExitStack, theirs: contextlib.ExitStack
) -> tuple[asyncio.StreamReader, int]:
    """Return a reader of a new pipe, and the descriptor of its other end."""
    ours, other = os.pipe()
    theirs.callback(os.close, other)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
    )
    stack.callback(transport.close)
    return reader, other


@dataclass(frozen=True, slots=True)
class _Mapping:
    """Lets the service, as root, give a new user namespace a user that is nobody else's."""

    info: asyncio.StreamReader
    info_fd: int
    block_fd: int
    go_fd: int

    @classmethod
    async def open(cls, stack: AsyncExitStack, theirs: contextlib.ExitStack) -> _Mapping:
        info, info_fd = await _pipe(stack, theirs)
        block_fd, go_fd = os.pipe()
        theirs.callback(os.close, block_fd)
        stack.callback(os.close, go_fd)
        return cls(info, info_fd, block_fd, go_fd)

    @property
    def fds(self) -> tuple[int, int]:
        return (self.info_fd, self.block_fd)

    @property
    def options(self) -> tuple[str, ...]:
        return ("--info-fd", str(self.info_fd), "--userns-block-fd", str(self.block_fd))

    async def write(self, id_map: str) -> None:
        """Write the map; where bubblewrap did not get that far, its messages will say why."""
        text = b""
        while len(text) < _INFO_BYTES and (chunk := await self.info.read(_INFO_BYTES)):
            text += chunk
        if not text:
            return
        pid = int(json.loads(text)["child-pid"])
        for name in ("uid_map", "gid_map"):
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
            try:
                os.write(fd, id_map.encode())
            finally:
                os.close(fd)
        os.write(self.go_fd, b"1")


def _order(
    launch: Launch, program: Program, limits: Limits, status_fd: int, channel_fd: int
) -> bytes:
    """Return what the supervisor reads."""
    return json.dumps(
        {
            "source": program.source,
            "modules": dict(program.modules),
            "limits": asdict(limits),
            "status_fd": status_fd,
            "channel_fd": channel_fd,
            "uid": launch.uid,
            "own_namespace": launch.own_namespace,
            "scratch": launch.scratch,
            "tmpfs": launch.tmpfs,
            "filter": launch.syscall_filter,
        }
    ).encode()


async def _give(process: asyncio.subprocess.Process, order: bytes) -> None:
    """Write the order; where nobody reads it, the missing status says so."""
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(order)
        await process.stdin.drain()
    process.stdin.close()


async def _end(process: asyncio.subprocess.Process, own_namespace: bool) -> None:
    """End `process` and all its children."""
    if process.returncode is None and not own_namespace:
        # Without a namespace the supervisor alone finds its children, if it is let.
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await process.wait()
    if process.returncode is None:
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended in between
        # Not `process.send_signal`, which may reap the process before the loop does.
        os.kill(process.pid, number)
