"""Three processes, one process and the embedded services give the same rewards to the last bit."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping

import pytest

import foresight
from bench.deployment import one_process, three_processes
from foresight_services.cli.embedded import embedded_client
from foresight_services.config import Config
from foresight_services.worlds.groceries.sentences import OPENING
from foresight_services.worlds.twenty_questions import opening_message

pytestmark = pytest.mark.e2e

QUESTION, GUESS = "Is it made mostly of metal?", "Is it a bell?"


def request(
    preset: str, opening: str, candidates: list[str], **simulation: object
) -> dict[str, object]:
    return {
        "task": {"preset": preset},
        "prefix": [{"role": "user", "content": opening}],
        "candidates": candidates,
        "simulation": simulation,
        "include_futures": True,
        "request_id": "same",
        # Of equal futures, which one pays for the score of all is a matter of time.
        "cache": "bypass",
    }


REQUESTS = [
    request("twenty_questions", opening_message(8), [QUESTION, GUESS], seed=7, horizon_messages=8),
    request("twenty_questions", opening_message(5), [QUESTION, GUESS], policy={"name": "asker"}),
    request(
        "twenty_questions", opening_message(3), [GUESS], horizon_messages=3, samples={"max": 64}
    ),
    request("twenty_questions", opening_message(3), [QUESTION, GUESS], horizon_messages=0),
    request("groceries", OPENING, ["I'll place the order now.", "Where to?"], seed=2**64 - 1),
]


@pytest.fixture
async def deployments() -> AsyncIterator[dict[str, foresight.AsyncClient]]:
    async with (
        embedded_client(Config()) as embedded,
        one_process() as one,
        three_processes() as three,
        foresight.AsyncClient(one) as client_of_one,
        foresight.AsyncClient(three) as client_of_three,
    ):
        yield {"embedded": embedded, "one": client_of_one, "three": client_of_three}


def without_times(rewards: foresight.Rewards) -> str:
    """Return everything in `rewards` but wall times, every float to its last bit."""

    def strip(value: object) -> object:
        if isinstance(value, foresight.Usage):
            value = dataclasses.replace(value, seconds=0.0)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
            return (type(value).__name__, [(name, strip(inner)) for name, inner in fields])
        if isinstance(value, tuple | list):
            return [strip(item) for item in value]
        if isinstance(value, float):
            return value.hex()
        if isinstance(value, Mapping):
            # A map has no order on the wire.
            return [(key, strip(value[key])) for key in sorted(value)]
        return value

    return repr(strip(rewards))


async def test_rewards_do_not_depend_on_where_the_services_run(
    deployments: dict[str, foresight.AsyncClient],
) -> None:
    for asked in REQUESTS:
        found = {name: await client.send(asked) for name, client in deployments.items()}
        assert all(value is not None for value in found["embedded"].values)
        assert all(future.messages or future.termination for future in found["embedded"][0].futures)
        embedded = without_times(found["embedded"])
        assert without_times(found["one"]) == embedded
        assert without_times(found["three"]) == embedded


async def test_another_seed_gives_other_futures(
    deployments: dict[str, foresight.AsyncClient],
) -> None:
    asked = request("twenty_questions", opening_message(8), [QUESTION], seed=1)
    other = request("twenty_questions", opening_message(8), [QUESTION], seed=2)
    client = deployments["three"]
    assert without_times(await client.send(asked)) != without_times(await client.send(other))
