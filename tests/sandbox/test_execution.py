"""Programs in the sandbox: how they end, that they end, and that nobody waits for them in vain."""

import asyncio
import os
import secrets
import signal
import sys
import textwrap

import pytest

from foresight_services.sandbox.code_sandbox import ProcessSandbox
from foresight_services.sandbox.port import Limits, Program, Stop
from foresight_services.sandbox.settings import SandboxSettings
from tests.fakes.sandbox import processes_with
from tests.fakes.waiting import eventually


def waiting_program(mark: str) -> Program:
    """Return a program whose children can be seen by `mark` and never end by themselves."""
    return Program(
        "import os\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        f"        os.setsid(); os.execv('/bin/sleep', ['sleep', '{mark}'])\n"
        f"os.execv('/bin/sleep', ['sleep', '{mark}'])\n"
    )


@pytest.fixture
def mark() -> str:
    return str(10**8 + secrets.randbelow(10**8))


@pytest.mark.parametrize(
    ("source", "stop", "exit_code", "number"),
    [
        ("print('x')", Stop.EXITED, 0, None),
        ("raise SystemExit(7)", Stop.EXITED, 7, None),
        ("1/0", Stop.EXITED, 1, None),
        ("def (", Stop.EXITED, 1, None),
        ("import os; os.kill(os.getpid(), 11)", Stop.SIGNALLED, None, signal.SIGSEGV),
    ],
)
async def test_ends(sandbox, source, stop, exit_code, number):
    completed = await sandbox.run(Program(source))
    assert (completed.stop, completed.exit_code, completed.signal) == (stop, exit_code, number)


async def test_output_comes_back(sandbox):
    source = "import os; os.write(1, b'out'); os.write(2, b'err'); print(os.read(0, 1))"
    completed = await sandbox.run(Program(source))
    assert completed.stdout == b"outb''\n"
    assert completed.stderr == b"err"


async def test_output_is_kept_up_to_the_limit(sandbox):
    limits = Limits(output_kib=1)
    completed = await sandbox.run(Program("while True: print('x')"), limits)
    assert completed.stop is Stop.OUTPUT
    assert len(completed.stdout) == 1024


async def test_limits_belong_to_the_run(sandbox):
    source = "x = bytearray(300 << 20)"
    assert (await sandbox.run(Program(source), Limits(memory_mib=512))).exit_code == 0
    assert (await sandbox.run(Program(source), Limits(memory_mib=256))).exit_code == 1


async def test_cancelling_kills_everything(sandbox, mark):
    task = asyncio.create_task(sandbox.run(waiting_program(mark)))
    await eventually(lambda: len(processes_with(mark)) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not processes_with(mark))
    assert (await sandbox.run(Program(""))).exit_code == 0


async def test_a_service_that_is_killed_takes_everything_with_it(mark):
    service = textwrap.dedent(
        """
        import asyncio, sys
        from foresight_services.sandbox.code_sandbox import ProcessSandbox
        from foresight_services.sandbox.settings import SandboxSettings
        from tests.sandbox.test_execution import waiting_program
        asyncio.run(ProcessSandbox(SandboxSettings()).run(waiting_program(sys.argv[1][::-1])))
        """
    )
    backwards = mark[::-1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", service, backwards)
    await eventually(lambda: len(processes_with(mark)) == 3)
    process.kill()
    await process.wait()
    await eventually(lambda: not processes_with(mark))


async def test_no_more_run_at_once_than_allowed(mark):
    sandbox = ProcessSandbox(SandboxSettings(max_concurrency=2))
    await sandbox.check()
    tasks = [asyncio.create_task(sandbox.run(waiting_program(mark))) for _ in range(4)]
    await eventually(lambda: len(processes_with(mark)) == 6)
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.wait(tasks[:2])
    await eventually(lambda: len(processes_with(mark)) == 6)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not any(task.exception() for task in tasks if not task.cancelled())
    await eventually(lambda: not processes_with(mark))


async def test_the_event_loop_goes_on_while_a_program_waits_for_it(sandbox):
    """The program ends only when the loop has served it: it could not if the loop waited for it."""
    served = []

    async def dialogue(channel):
        for _ in range(3):
            served.append(await channel.receive())
            await channel.send({"go": "on"})

    source = textwrap.dedent(
        """
        import os
        for at in range(3):
            text = b'{"at": %d}' % at
            os.write(CHANNEL, len(text).to_bytes(4, "big") + text)
            os.read(CHANNEL, 16)
        """
    )
    completed = await sandbox.run(Program(source, dialogue=dialogue))
    assert completed.exit_code == 0
    assert served == [{"at": 0}, {"at": 1}, {"at": 2}]


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\1[",
        b"\0\0\0\2[]",
        b"\0\0\0\4\xff\xfe\xfd\xfc",
        (100_000).to_bytes(4, "big") + b"[" * 100_000,
        b"",
    ],
)
async def test_what_is_no_message_is_none(sandbox, sent):
    heard = []

    async def dialogue(channel):
        heard.append(await channel.receive())

    source = f"import os\ntext = {sent[:4]!r} + {sent[4:5]!r} * {len(sent[4:])}\n"
    if len(set(sent[4:])) > 1:
        source = f"import os\ntext = {sent!r}\n"
    source += "os.write(CHANNEL, text)\nos.close(CHANNEL)\n"
    await sandbox.run(Program(source, dialogue=dialogue))
    assert heard == [None]


async def test_no_descriptor_is_left_open(sandbox):
    await sandbox.run(Program(""))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await sandbox.run(Program("while True: print('x')"), Limits(output_kib=1))
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
