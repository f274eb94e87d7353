"""Work that would hold up the event loop: done in a thread, or in a process that can be killed.

A thread is right for library code that releases the interpreter and always comes to an end. All
else goes to a worker: a process of its own, with bounded memory, that is killed when its time is
up or when nobody waits for it any more. Workers are kept for the next call and speak JSON, one line
for a call and one for its answer; what they are given is hostile text, what they run is ours.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from foresight_services.core.errors import Reason, Upstream

P = ParamSpec("P")
T = TypeVar("T")

LONG_TEXT: Final = 16_000
"""Characters from which counting what is in a text, some milliseconds of work, leaves the loop."""

_START_SECONDS: Final = 120.0
_MODULE: Final = "foresight_services.metrics.offload_worker"
_KEPT_VARIABLES: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cpus(), thread_name_prefix="foresight-counting")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `function` returns, run in a thread; at most one thread for every CPU.

    A cancelled call returns at once, while the thread finishes what it does.
    """
    call = functools.partial(function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads(), call)


class _Ended(Exception):
    """The process ended before it answered."""


class _Process:
    """One worker, as the thread that waits for its answers sees it."""

    def __init__(self) -> None:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        self.loaded: set[str] = set()
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._read = b""

    def ask(self, question: dict[str, object], seconds: float) -> dict[str, object]:
        """Return the answer; TimeoutError after `seconds`, _Ended if the process is no more."""
        pipe = self._popen.stdin
        if pipe is None:
            raise _Ended
        rest = memoryview(json.dumps(question).encode() + b"\n")
        try:
            while rest:
                rest = rest[pipe.write(rest) :]
        except BrokenPipeError as error:
            raise _Ended from error
        answer = json.loads(self._line(time.monotonic() + seconds))
        if not isinstance(answer, dict):
            raise TypeError("a worker's answer is a JSON object")
        return answer

    def _line(self, deadline: float) -> bytes:
        pipe = self._popen.stdout
        if pipe is None:
            raise _Ended
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._read:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(pipe.fileno(), 1 << 16)
                if not chunk:
                    raise _Ended
                self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line

    def kill(self) -> None:
        """End the process, whatever it does; any thread may call this."""
        self._popen.kill()

    def end(self) -> None:
        """End the process and free what it held."""
        self._popen.kill()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._popen.wait()


class _Call:
    """A call that may be given up by the loop while a thread serves it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._given_up = False

    def serve_by(self, process: _Process | None) -> None:
        """Note which process works on it, None for none any more; _Ended if it was given up."""
        with self._lock:
            self._process = process
            if self._given_up and process is not None:
                raise _Ended

    def give_up(self) -> None:
        """Kill the process that works on it."""
        with self._lock:
            self._given_up = True
            if self._process is not None:
                self._process.kill()


class Workers:
    """A bounded set of worker processes, started when they are needed."""

    def __init__(self, size: int | None = None) -> None:
        """Have at most `size` workers, by default one for every CPU."""
        self._threads = ThreadPoolExecutor(size or cpus(), thread_name_prefix="foresight-worker")
        self._idle: list[_Process] = []
        self._lock = threading.Lock()
        # Also when the interpreter ends.
        self._finalizer = weakref.finalize(self, _end_all, self._idle)

    async def call(
        self,
        function: Callable[P, T],
        seconds: float,
        metric: str,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what `function`, of a module's top level, returns in a worker.

        Arguments and result are JSON. The time starts when the worker has imported the module.

        Raises:
            Upstream: METRIC_FAILED for `metric`: the time is up, or it raised, or it took too much
                memory.
        """
        name = f"{function.__module__}:{function.__qualname__}"
        call = _Call()
        future = self._threads.submit(self._serve, call, name, args, kwargs, seconds)
        try:
            answer = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            call.give_up()
            raise
        except TimeoutError as error:
            raise _failed(metric, f"took longer than {seconds:g} s") from error
        except _Ended as error:
            raise _failed(
                metric, "its worker ended; most likely it took too much memory"
            ) from error
        if "error" in answer:
            raise _failed(metric, f"raised {answer['error']}")
        value: T = answer["value"]  # type: ignore[assignment]
        return value

    def close(self) -> None:
        """End the workers that have nothing to do, and take no further calls."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._finalizer()

    def _serve(
        self,
        call: _Call,
        name: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        seconds: float,
    ) -> dict[str, object]:
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or _Process()
        fit = False
        try:
            call.serve_by(process)
            answer: dict[str, object] = {}
            if name not in process.loaded:
                answer = process.ask({"load": name}, _START_SECONDS)
                process.loaded.add(name)
            if "error" not in answer:
                answer = process.ask({"call": name, "args": args, "kwargs": kwargs}, seconds)
            fit = "error" not in answer
            return answer
        finally:
            call.serve_by(None)
            if fit:
                with self._lock:
                    self._idle.append(process)
            else:
                process.end()


def _end_all(processes: list[_Process]) -> None:
    while processes:
        processes.pop().end()


def _failed(metric: str, why: str) -> Upstream:
    return Upstream(Reason.METRIC_FAILED, f"{metric}: {why}", metadata={"metric": metric})


@functools.cache
def workers() -> Workers:
    """Return the workers of this process, which all metrics share."""
    return Workers()
