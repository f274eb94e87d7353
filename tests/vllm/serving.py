"""`vllm serve`, started by TRL as its generation server, on a free port of this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

READY_SECONDS: Final = 300.0
"""Far more than a start takes, even on a busy machine."""

ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # The model is so small that threads would mostly wait for each other.
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""What every vLLM of the tests runs with."""

TRL: Final = """
import sys
from trl.scripts.vllm_serve import ScriptArguments, main
path, port, *others = sys.argv[1:]
main(
    ScriptArguments(
        path, host="127.0.0.1", port=int(port), dtype="float32", max_model_len=1024,
        enforce_eager=True,
    ),
    others,
)
"""
"""What `trl vllm-serve` does, less its command line, which needs all that TRL trains with."""

CPU: Final = ("--no-enable-chunked-prefill",)
"""What a server on a CPU needs to survive seeds: on a CPU a request with a seed ends the engine
when its prompt is read in two steps."""

SERVE: Final = (
    "--served-model-name=tiny",
    "--enable-lora",
    # Two are used. On a CPU the base model speaks by whatever is in the last place for adapters
    # when it shares a batch with some, so that place stays empty.
    "--max-loras=3",
    "--max-lora-rank=8",
    "--block-size=32",
    "--enable-prompt-tokens-details",
    *CPU,
    '--structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}',
)
"""What a server of the tests is told beyond what TRL tells it."""


def trl_vllm_serve(model: Path, port: int) -> list[str]:
    """Return the command that starts TRL's generation server."""
    return [sys.executable, "-c", TRL, str(model), str(port), *SERVE]


def vllm_serve(model: Path, port: int, *arguments: str) -> list[str]:
    """Return the command that starts `vllm serve`."""
    command = [str(Path(sys.executable).parent / "vllm"), "serve", str(model)]
    return [*command, "--host=127.0.0.1", f"--port={port}", "--enforce-eager", *CPU, *arguments]


@dataclass(frozen=True)
class Served:
    """A server that is ready."""

    url: str
    """Its address, without `/v1`."""
    process: subprocess.Popen[bytes]
    """Its process."""
    log: Path
    """What it says."""

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a series of vLLM's own metrics over all labels but those given."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in text.splitlines():
            match = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? (\S+)", line)
            if match and all(f'{k}="{v}"' in (match[1] or "") for k, v in labels.items()):
                total += float(match[2])
        return total


@contextmanager
def serving(command: list[str], port: int, *, log: Path) -> Iterator[Served]:
    """Run the server that `command` starts on `port` until the context is left."""
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        served = Served(f"http://127.0.0.1:{port}", process, log)
        _wait_until_ready(served)
        yield served
    finally:
        _stop(process)


def _wait_until_ready(served: Served) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and served.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{served.url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"vllm serve is not ready:\n{served.log.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server, and whatever of it is left, by its process group."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        pass  # what follows ends it
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
