"""What asking again costs: model calls of requests that differ a little from an answered one.

One service with a cache in memory; a request is answered first, then each variant of it once. Calls
are those of the response's usage; the judge of the builtin world is counted as any other.

    python -m bench.asked_again
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

from bench.cached_rewards import CANDIDATES, GAME
from bench.deployment import serving
from foresight import AsyncClient

SUCCESS: Final = {"name": "success", "weight": 1.0}
MESSAGES: Final = {"name": "messages", "weight": -0.01}


def request(
    *, most: int = 3, metrics: tuple[dict[str, Any], ...] = (SUCCESS,), **fields: Any
) -> dict[str, Any]:
    """Return a request for two candidates, `most` futures of 4 messages each."""
    simulation = {"horizon_messages": 4, "samples": {"max": most}, **fields.pop("simulation", {})}
    return {
        "task": {"preset": "twenty_questions"},
        "prefix": [{"role": "user", "content": GAME}],
        "candidates": list(CANDIDATES[:2]),
        "objective": {"profile": "custom", "metrics": list(metrics)},
        "simulation": simulation,
        **fields,
    }


ASKED: Final[dict[str, dict[str, Any]]] = {
    "first time, n = 3": request(),
    "the same again": request(),
    "read_only": request(cache="read_only"),
    "with the futures' texts": request(include_futures=True),
    "other weights": request(metrics=({**SUCCESS, "weight": 5.0},)),
    "n from 3 to 5": request(most=5),
    "a metric more": request(metrics=(SUCCESS, MESSAGES)),
    "another candidate": request(candidates=[*CANDIDATES[:2], "Is it red?"]),
    "another seed": request(simulation={"seed": 1}),
    "another horizon": request(simulation={"horizon_messages": 2}),
    "bypass": request(cache="bypass"),
    "refresh": request(cache="refresh"),
}
"""Requests in order, by what is new in each."""


async def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "foresight.yaml"
        config.write_text("cache: {}\n")
        async with serving("all", "--config", str(config)) as target:
            async with AsyncClient(target) as client:
                print(
                    f"{'asked':26}{'user':>6}{'policy':>8}{'judge':>7}{'futures':>20}{'scores':>20}"
                )
                for name, asked in ASKED.items():
                    rewards = await client.send(asked)
                    models = rewards.usage.models
                    calls = [
                        models[r].calls if r in models else 0 for r in ("user", "policy", "judge")
                    ]
                    use = rewards.cache
                    made = [
                        f"{one.computed} new, {one.found} found"
                        for one in (use.futures, use.scores)
                    ]
                    print(
                        f"{name:26}{calls[0]:6}{calls[1]:8}{calls[2]:7}{made[0]:>20}{made[1]:>20}"
                    )


if __name__ == "__main__":
    asyncio.run(main())
