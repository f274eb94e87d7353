"""Every failure has an exit code and one line for each problem."""

import signal
import sys

import pytest

from foresight import errors
from foresight_services import cli
from foresight_services.cli.event_loop import Cancelled
from foresight_services.cli.failures import report, wrong


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequestError("x"), 2),
        (errors.UnknownPolicyError("x"), 2),
        (errors.ContradictoryPrefixError("x"), 2),
        (errors.UnauthenticatedError("x"), 2),
        (errors.NotImplementedByServerError("x"), 2),
        (errors.ServiceUnavailableError("x"), 3),
        (errors.LimitReachedError("x"), 3),
        (errors.InternalError("x"), 3),
        (errors.ForesightError("x"), 3),
        (errors.DeadlineExceededError("x"), 4),
        (Cancelled(signal.SIGINT), 130),
        (Cancelled(signal.SIGTERM), 143),
        (wrong("a.b", "is wrong"), 2),
    ],
)
def test_exit_codes(error, code, capsys):
    assert report(error) == code
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1


def test_every_violation_has_its_line(capsys):
    violations = [
        errors.Violation("a", "x\ny"),
        errors.Violation("b\x1b", "z"),
        errors.Violation("", "w"),
    ]
    assert report(errors.InvalidRequestError.from_violations(violations)) == 2
    assert capsys.readouterr().err == "a: x y\nb\\x1b: z\nw\n"


def test_a_missing_extra_is_named_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "foresight_services.cli.app", raising=False)
    assert cli.main() == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert len(written.err.splitlines()) == 1
    assert "pip install 'foresight[services]'" in written.err


def test_a_missing_module_of_our_own_is_a_defect(monkeypatch):
    monkeypatch.setitem(sys.modules, "foresight_services.cli.app", None)
    with pytest.raises(ModuleNotFoundError):
        cli.main()
