"""Signals cancel what runs, and it cleans up."""

import asyncio
import os
import signal

import pytest

from foresight_services.cli.event_loop import STOP_SIGNALS, Cancelled, run


async def wait_after(signum, ended):
    os.kill(os.getpid(), signum)
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(signum)


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_signals_cancel(signum):
    ended: list[int] = []
    with pytest.raises(Cancelled) as caught:
        run(wait_after(signum, ended))
    assert caught.value.exit_code == 128 + signum
    assert ended == [signum]


def test_a_cancellation_that_surfaces_as_an_error_is_still_one():
    async def translate():
        try:
            await wait_after(signal.SIGINT, [])
        except asyncio.CancelledError:
            raise RuntimeError("the call broke off") from None

    with pytest.raises(Cancelled):
        run(translate())


def test_clean_up_that_hangs_is_broken_off_by_the_next_signal():
    async def hang():
        try:
            await wait_after(signal.SIGINT, [])
        finally:
            await wait_after(signal.SIGTERM, [])

    with pytest.raises(Cancelled) as caught:
        run(hang())
    assert caught.value.exit_code == 130


def test_a_command_can_take_the_signals_itself():
    async def collect():
        os.kill(os.getpid(), signal.SIGTERM)
        return await received.get()

    received: asyncio.Queue[int] = asyncio.Queue()
    assert run(collect(), on_signal=received.put_nowait) == signal.SIGTERM


def test_results_and_errors_pass_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)

    async def fail():
        raise ValueError("x")

    async def three():
        return 3

    assert run(three()) == 3
    with pytest.raises(ValueError, match="x"):
        run(fail())
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
