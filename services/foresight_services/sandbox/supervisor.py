"""The first process inside the sandbox: starts the program, watches its limits, says how it ended.

It is fed to the interpreter as text and imports the standard library alone. With bubblewrap it is
process 1 of its namespace: nothing inside can kill it, and when it ends the kernel kills all
others. Elsewhere it is a subreaper that kills all it can find before it ends.

Standard input brings one JSON object: what to run, the limits, which descriptors are the status
pipe and the program's channel. The status pipe takes two lines: `{}` once everything is in place
and untrusted code may begin, and then how it ended. An error before that takes the place of `{}`.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import resource
import signal
import sys
import time
import types

MIB = 1 << 20
TICK_SECONDS = 0.01
PAGE = os.sysconf("SC_PAGE_SIZE")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER = 1, 4, 22, 36
PR_SET_NO_NEW_PRIVS = 38
OPEN_FILES = 256
FILES_PER_MIB = 256
AWAITED = (signal.SIGCHLD, signal.SIGTERM)


class FilterProgram(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


TYPE_CHECKING = False
if TYPE_CHECKING:  # importing `typing` would take milliseconds of each run
    from collections.abc import Callable
    from typing import Any, TypedDict

    class LimitsOrder(TypedDict):
        """What matters here of `Limits`."""

        cpu_seconds: float
        memory_mib: int
        processes: int
        scratch_mib: int

    class Order(TypedDict):
        """What to run, and how."""

        source: str
        modules: dict[str, str]
        limits: LimitsOrder
        status_fd: int
        channel_fd: int
        uid: int | None
        own_namespace: bool
        scratch: str
        tmpfs: list[str]
        filter: str | None

    Seen = tuple[int, float, int]

libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, first: int, second: object = None) -> None:
    """Call prctl(2)."""
    if libc.prctl(option, ctypes.c_ulong(first), second, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit for this process and its children; a lower one that is in force stays."""
    _, ceiling = resource.getrlimit(kind)
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def confine(order: Order) -> None:
    """Give up, for good, everything that the program must not have."""
    limits = order["limits"]
    os.setsid()
    cpu = int(limits["cpu_seconds"]) + 1
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, limits["scratch_mib"] * MIB)
    limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    limit(resource.RLIMIT_MSGQUEUE, 0)
    limit(resource.RLIMIT_CPU, cpu, cpu + 1)
    if order["uid"] is not None:
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    # A change of user clears these. Being dumpable lets the supervisor see how much is shared.
    prctl(PR_SET_DUMPABLE, 1)
    if not order["own_namespace"]:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # A supervisor of the same user counts, too. Where neither the namespace nor the user is the
    # program's own, every process of the service's user would count.
    if order["own_namespace"] or order["uid"] is not None:
        limit(resource.RLIMIT_NPROC, limits["processes"] + (order["uid"] is None))
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0)
    if order["filter"] is not None:
        text = bytes.fromhex(order["filter"])
        program = FilterProgram(len(text) // 8, text)
        prctl(PR_SET_SECCOMP, 2, ctypes.byref(program))
    limit(resource.RLIMIT_AS, limits["memory_mib"] * MIB)


def start(order: Order) -> int:
    """Run the program in a child of its own and return its process id."""
    source, modules = order["source"], order["modules"]
    child = os.fork()
    if child:
        return child
    status = order["status_fd"]
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        confine(order)
        os.set_inheritable(order["channel_fd"], False)
        os.write(status, b"{}\n")
        os.close(status)
        os.close(null)
    except BaseException as error:
        os.write(status, json.dumps({"setup": repr(error)}).encode() + b"\n")
        os._exit(1)
    sys.argv = ["-"]
    last = run(source, modules, order["channel_fd"])
    if last is not None:
        last()
    sys.exit(0)


def run(source: str, modules: dict[str, str], channel: int) -> Callable[[], object] | None:
    """Run the program; return what it wants to have called when no frame of it is left."""
    private = dict(vars(builtins))
    for name, text in modules.items():
        module = sys.modules[name] = types.ModuleType(name)
        module.__dict__["__builtins__"] = private
        exec(compile(text, f"<{name}>", "exec"), module.__dict__)
    scope: dict[str, Any] = {"__name__": "__main__", "__builtins__": private, "CHANNEL": channel}
    exec(compile(source, "<program>", "exec"), scope)
    for name in modules:
        del sys.modules[name]
    last: Callable[[], object] | None = scope.get("LAST")
    return last


def parents() -> dict[int, Seen]:
    """Map each process that can be seen to its parent, CPU seconds and number of threads."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended in between
            seconds = sum(map(int, fields[11:15])) / CLOCK_TICKS
            found[int(name)] = (int(fields[1]), seconds, int(fields[17]))
    return found


def descendants(seen: dict[int, Seen]) -> set[int]:
    """Return those processes among `seen` that come from this one."""
    tree, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, (parent, _, _) in seen.items() if parent in tree} - tree
        tree |= more
        grown = bool(more)
    return tree - {os.getpid()}


def held(pid: int, exact: bool) -> int:
    """Return the bytes of memory that process `pid` holds; `exact` counts shared pages once."""
    names = (
        ("Pss_Anon:", "Pss_Shmem:", "SwapPss:") if exact else ("RssAnon:", "RssShmem:", "VmSwap:")
    )
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup" if exact else f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(names):
                    total += int(line.split()[1]) << 10
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended in between
    except PermissionError:
        return held(pid, False) if exact else 0
    return total


def broken_limit(order: Order, reaped_seconds: float) -> str | None:
    """Return the name of the limit that does not hold any more, or None."""
    limits = order["limits"]
    seen = parents()
    tree = descendants(seen)
    if sum(seen[pid][1] for pid in tree) + reaped_seconds > limits["cpu_seconds"]:
        return "cpu_time"
    if sum(seen[pid][2] for pid in tree) > limits["processes"]:
        return "processes"
    memory = limits["memory_mib"] * MIB
    if sum(held(pid, False) for pid in tree) > memory:
        # Forked processes share most of their pages, so this was an upper bound.
        if sum(held(pid, True) for pid in tree) > memory:
            return "memory"
    for folder in order["tmpfs"]:
        files = os.statvfs(folder)
        if files.f_files - files.f_ffree > limits["scratch_mib"] * FILES_PER_MIB:
            return "files"
    return None


def watch(child: int, order: Order) -> dict[str, object]:
    """Wait for `child` to end, or for a limit to break; return how it ended."""
    while True:
        woken = signal.sigtimedwait(AWAITED, TICK_SECONDS)
        if woken is not None and woken.si_signo == signal.SIGTERM:
            return {"stop": "signalled", "signal": signal.SIGTERM}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                if code >= 0:
                    return {"stop": "exited", "exit_code": code}
                used = resource.getrusage(resource.RUSAGE_CHILDREN)
                spent = used.ru_utime + used.ru_stime >= order["limits"]["cpu_seconds"]
                return {"stop": "cpu_time" if spent else "signalled", "signal": -code}
            if pid == 0:
                break
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        broken = broken_limit(order, used.ru_utime + used.ru_stime)
        if broken is not None:
            return {"stop": broken}


def kill_all() -> None:
    """Kill what the program started, and what that started, where no namespace does it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        tree = descendants(parents())
        if not tree:
            return
        for pid in tree:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended in between
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def main() -> None:
    """Read the order, run the program, report."""
    with open(0, "rb", closefd=False) as file:
        order = json.load(file)
    status = order["status_fd"]
    try:
        # The first to go when the machine is short of memory, and unreachable from inside.
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        prctl(PR_SET_DUMPABLE, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        if not order["own_namespace"]:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        os.chdir(order["scratch"])
        for fd in (status, order["channel_fd"]):
            os.set_inheritable(fd, False)
        child = start(order)
        os.close(order["channel_fd"])
    except Exception as error:
        os.write(status, json.dumps({"setup": repr(error)}).encode() + b"\n")
        os._exit(1)
    ended = watch(child, order)
    os.write(status, json.dumps(ended).encode() + b"\n")
    if not order["own_namespace"]:
        kill_all()
    os._exit(0)


main()
