"""`foresight demo`: the whole product on a machine that has nothing but Python."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from foresight_services.cli.demo_looks import SceneLooks, look_at
from foresight_services.cli.demo_scenes import scenes
from foresight_services.cli.demo_truth import CheckedCase, cases_document, check_cases, print_cases
from foresight_services.cli.demo_view import print_scenes, scenes_document
from foresight_services.cli.embedded import embedded_client
from foresight_services.cli.event_loop import run
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.reward_json import write_json
from foresight_services.cli.terminal import output
from foresight_services.config import Config
from foresight_services.worlds.registry import make_worlds

_NEXT: Final = """
Next: foresight demo --truth      check the estimator on random cases
      foresight score FILE        score your own candidates, from YAML or JSON
      foresight serve all         serve trainers over gRPC
"""


def demo(
    truth: Annotated[
        bool, typer.Option("--truth", help="Check random cases against their exact values.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**64 - 1, help="Seed of every draw.", metavar="INTEGER")
    ] = 7,
) -> int:
    """Show what looking ahead is worth: score candidates in builtin worlds, beside the truth.

    Starts the three services in this process. No GPU, API key or network is needed.
    """
    if truth:
        checked = run(_truth(seed))
        if as_json:
            write_json(cases_document(checked, seed))
        else:
            print_cases(output(), checked)
        return ExitCode.OK
    looks = run(_scenes(seed))
    if as_json:
        write_json(scenes_document(looks, seed))
    else:
        console = output()
        print_scenes(console, looks)
        console.print(_NEXT, end="", style="dim")
    return ExitCode.OK


async def _scenes(seed: int) -> list[SceneLooks]:
    async with embedded_client(Config()) as client:
        return await look_at(client, make_worlds(), tuple(scenes()), seed)


async def _truth(seed: int) -> list[CheckedCase]:
    async with embedded_client(Config()) as client:
        return await check_cases(client, make_worlds(), seed)
