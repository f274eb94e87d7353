"""The commands of `foresight`, and the one place where their errors become exit codes."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Final, cast

import typer

from foresight_services.cli.check_config import check_config
from foresight_services.cli.dataset import dataset_app
from foresight_services.cli.demo import demo
from foresight_services.cli.exit_codes import EPILOG, ExitCode
from foresight_services.cli.failures import KNOWN, report
from foresight_services.cli.metrics import metrics
from foresight_services.cli.score import score
from foresight_services.cli.serve import serve
from foresight_services.cli.terminal import complain, say

# The class is not part of typer's public names in every version; its subclass is.
_UsageError: Final = cast(type[Exception], typer.BadParameter.__bases__[0])


def run_command(arguments: Sequence[str]) -> int:
    """Run the command in `arguments` and return its exit code."""
    app = typer.Typer(
        epilog=EPILOG,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(foresight)
    for name, command in (
        ("demo", demo),
        ("score", score),
        ("serve", serve),
        ("check-config", check_config),
        ("metrics", metrics),
    ):
        app.command(name, epilog=EPILOG)(command)
    app.add_typer(dataset_app(), name="dataset")
    try:
        code = typer.main.get_command(app).main(
            list(arguments), prog_name="foresight", standalone_mode=False
        )
    except KNOWN as error:
        return report(error)
    except typer.Abort:
        code = 128 + signal.SIGINT
    except _UsageError as error:
        return _report_usage(error)
    except SystemExit:
        # The one thing that ends so: whoever read the output has left, as `head` does.
        return ExitCode.UNREAD
    if code == 128 + signal.SIGINT:
        complain("cancelled")
    return int(code or 0)


def foresight(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    """Multiturn-aware rewards (MR): score responses by simulating how conversations go on."""
    if show_version:
        say(f"foresight {version('foresight')}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.WRONG_INPUT)


def _report_usage(error: Exception) -> int:
    """Tell what is wrong with the command line, in one line."""
    message = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "foresight"
    complain(f"{command}: {message} See: {command} --help")
    return ExitCode.WRONG_INPUT
