"""Answers from the cache, as `bench.cached_rewards` measures them; the reference caches nothing."""

from __future__ import annotations

from typing import Final

from bench import cached_rewards
from bench.side_by_side.bench import Bench
from bench.side_by_side.findings import Findings, Goal, Line
from bench.side_by_side.processes import service
from bench.side_by_side.work import Results, Row, Work
from foresight import AsyncClient


async def _foresight(bench: Bench) -> Findings:
    config = bench.folder / "cached.yaml"
    config.write_text("cache: {}\n")
    async with service("cached", config, what="all") as (_, target), AsyncClient(target) as client:
        return {
            name: [value]
            for name, value in (await cached_rewards.measure(client, texts=False)).items()
        }


def _lines(results: Results) -> list[Line]:
    found = results["cached"]
    p50, p99, rate = (
        found.spread("foresight", name) for name in ("p50_ms", "p99_ms", "rewards_per_second")
    )
    return [
        Line("Answer from cache, one candidate: median", "ms", None, p50),
        Line("Answer from cache, one candidate: p99", "ms", None, p99, Goal("at most", 3)),
        Line("Answers from cache, groups of 8: rewards", "/s", None, rate, Goal("at least", 5_000)),
    ]


ROW: Final = Row("cached", Work("cached", _foresight, most_rounds=3), _lines)
