"""A run's processes and how the work is sent to either side.

One model server answers both sides, one after the other, and is told anew how to behave before
every piece of work. Foresight is asked through its SDK and runs as three services, with one
configuration for all rows but the one of memory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from bench.side_by_side import cases
from bench.side_by_side.backend import Behaviour, Latency
from bench.side_by_side.call_log import Call, conversations
from bench.side_by_side.prefixes import Reuse
from bench.side_by_side.processes import Child, Services, child, three_services
from bench.side_by_side.sizes import Sizes
from foresight import AsyncClient, Rewards

CONCURRENCY: Final = 1024
"""Calls that Foresight may make to the model server at once."""

_MOST_SECONDS: Final = 300.0
_MOST_FILES: Final = 16_384


class NotWholeError(Exception):
    """A side left out work that the rows count on."""


class ModelServer:
    """The running model server, seen by its owner."""

    def __init__(self, process: Child, address: str, session: aiohttp.ClientSession) -> None:
        self.process = process
        """Its process."""
        self.address = address
        """Where it listens, without `/v1`."""
        self._session = session

    async def reset(self, latency: Latency, *, slots: int = 0) -> None:
        """Let it behave so, and forget all calls."""
        await self._ask("POST", "/reset", Behaviour(latency, slots).as_json())

    async def calls(self) -> list[Call]:
        """Return all calls that have ended."""
        return [Call(*row) for row in await self._ask("GET", "/log")]

    async def reuse(self) -> Reuse:
        """Return how much of the prompts began an earlier one."""
        return Reuse(*await self._ask("GET", "/prefixes"))

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(method, f"{self.address}{path}", json=body) as response:
            response.raise_for_status()
            return await response.json()


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference's process."""

    process: Child
    """The process."""

    async def run(
        self, asked: Sequence[int], *, threads: int = 0, interval: float = 0.0
    ) -> list[Span]:
        """Score cases from `threads` threads, or else one every `interval` seconds."""
        how = {"threads": threads} if threads else {"interval": interval}
        self.process.tell(json.dumps({"cases": list(asked), **how}))
        return [Span(*span) for span in json.loads(await self.process.line())]


@dataclass(frozen=True, slots=True)
class Span:
    """When a case was worked on, by the monotonic clock in seconds."""

    case: int
    """The case."""
    begin: float
    """When it was asked for."""
    end: float
    """When its reward was there."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that a piece of work needs."""

    server: ModelServer
    """The model server."""
    services: Services
    """Foresight."""
    client: AsyncClient
    """Foresight's client."""
    reference: Reference | None
    """The reference; None in a run without it."""
    sizes: Sizes
    """How much work is done."""
    folder: Path
    """For files of this run."""
    prompts: count[int]
    """Numbers of prompts, each taken once, so that no answer comes from a cache."""

    def fresh_cases(self, how_many: int) -> list[int]:
        """Return as many cases that were never asked for, whole prompts of them."""
        groups = -(-how_many // cases.CANDIDATES)
        asked = [case for _ in range(groups) for case in self.fresh_group()]
        return asked[:how_many]

    def fresh_group(self) -> list[int]:
        """Return the cases of a prompt that was never asked for."""
        first = next(self.prompts) * cases.CANDIDATES
        return list(range(first, first + cases.CANDIDATES))

    async def score(self, asked: Sequence[int]) -> list[Span]:
        """Let Foresight score cases of one prompt in one request."""
        begin = time.monotonic()
        rewards = await self.client.send(request(asked), timeout=_MOST_SECONDS)
        end = time.monotonic()
        _check(rewards)
        return [Span(case, begin, end) for case in asked]


def request(asked: Sequence[int]) -> dict[str, Any]:
    """Return the request for cases of one prompt."""
    prompt = cases.prompt_number(asked[0])
    return {
        "task": {
            "description": cases.DESCRIPTION,
            "goal": cases.goal(prompt),
            "reference": cases.REFERENCE,
        },
        "prefix": cases.prefix(prompt),
        "candidates": [cases.candidate(case) for case in asked],
        "objective": {
            "profile": "release",
            "metrics": [{"name": name, "weight": w} for name, w in cases.METRICS.items()],
        },
        "simulation": {
            "horizon_messages": cases.HORIZON,
            "samples": {"min": cases.FUTURES, "max": cases.FUTURES},
            # One kind of person, as the reference's user is.
            "personas": [cases.PERSONA],
        },
    }


def configuration(address: str, **simulator: int) -> str:
    """Return Foresight's configuration over the model server at `address`."""
    most = simulator.get("max_futures", CONCURRENCY)
    model = {
        "backend": "openai",
        "base_url": f"{address}/v1",
        "limits": {"max_concurrency": most},
        "max_connections": most,
        # Opening thousands of connections at once takes a machine a while.
        "connect_timeout_seconds": 60,
    }
    models = {role: {**model, "model": role} for role in ("user", "policy", "judge")}
    return yaml.safe_dump({"models": models, "simulator": simulator})


@asynccontextmanager
async def benching(
    folder: Path, reference: Path | None, sizes: Sizes, **simulator: int
) -> AsyncIterator[Bench]:
    """Start all processes, `reference` being its environment or None; end them on leaving.

    `simulator` is its section of the configuration.
    """
    _allow_files()
    async with AsyncExitStack() as stack:
        python = (sys.executable, "-m", "bench.side_by_side.model_server")
        model_server = await stack.enter_async_context(child("model server", *python))
        address = await model_server.line()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        other = None
        if reference is not None:
            command = (str(reference / "bin" / "python"), "-W", "ignore", "-m")
            worker = child(
                "reference",
                *(*command, "bench.side_by_side.reference_worker", address),
                environment={"RUN_USER_DIR": str(folder)},
            )
            other = Reference(await stack.enter_async_context(worker))
        config = folder / "foresight.yaml"
        config.write_text(configuration(address, **simulator))
        services = await stack.enter_async_context(three_services(config))
        client = await stack.enter_async_context(AsyncClient(services.target))
        if other is not None:
            await other.process.line()
        server = ModelServer(model_server, address, session)
        yield Bench(server, services, client, other, sizes, folder, count(1))


async def warm_up(bench: Bench) -> None:
    """Let both sides load what they load once."""
    await bench.server.reset(Latency("fixed", 5.0))
    await asyncio.gather(*(bench.score(bench.fresh_group()) for _ in range(4)))
    if bench.reference is not None:
        await bench.reference.run(bench.fresh_cases(4), threads=4)


def checked(calls: Sequence[Call], scored: int) -> Sequence[Call]:
    """Return `calls`, which are those of `scored` cases; NotWholeError where they are not."""
    wanted, drawn = scored * cases.CALLS, sum(call.choices for call in calls)
    if drawn != wanted or not all(call.good and call.case for call in calls):
        raise NotWholeError(f"{drawn} replies for {scored} MRs, which take {wanted}")
    futures = set(conversations(calls).values())
    if len(futures) != scored * cases.FUTURES:
        raise NotWholeError(f"{len(futures)} conversations for {scored} MRs")
    return calls


def _check(rewards: Rewards) -> None:
    for reward in rewards:
        if reward.value is None or reward.n_ok != cases.FUTURES:
            raise NotWholeError(f"Foresight left a candidate unscored: {reward.error}")


def _allow_files() -> None:
    """Allow this process and its children as many open connections as the machine does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
