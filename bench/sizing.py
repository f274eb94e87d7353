"""Say what so many GPUs of policy serving need in services and Redis, from measured costs.

    python -m bench.sizing [--gpus 8 64 512] [--tokens-per-second 10000] ...

The GPUs answer the policy's calls, and what `--served` names besides; they are the only thing that
limits the rate of futures. From it follow calls, futures in flight (Little's law), CPU, memory,
Redis and network. Costs come from the files that other measurements wrote to bench/results:

| file | what | written by |
|---|---|---|
| `call_cpu.json` | CPU, the cache in the service | `python -m bench.call_cpu --out FILE` |
| `call_cpu_redis.json` | CPU, Redis | `python -m bench.call_cpu --redis --out FILE` |
| `side_by_side.json` | memory of futures in flight | `python -m bench.side_by_side` |
| `cached_rewards.json` | answers from the cache | `python -m bench.cached_rewards` |

With `--memory-cache` there is no Redis, and one reward service at most. CPU is proportional: to
turns in the simulator, to verdicts in the evaluator, to futures in the reward service. A replica is
a process with one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.capacity import ROLES, Costs, Demand, Limits, Size, size

RESULTS: Final = Path(__file__).parent / "results"
REDIS_CACHE: Final = "redis, whole"
MEMORY_CACHE: Final = "memory, whole"
"""The rows of cached_rewards.json that are counted with."""


_NUMBERS: Final = (
    *("tokens_per_second", "message_tokens", "calls_at_once", "candidates", "futures"),
    *("horizon", "verdicts", "cached_share", "kept_seconds"),
)
"""Fields of `Demand` that are options too."""


def costs_of(folder: Path, *, redis: bool) -> Costs:
    """Return the costs that the files in `folder` tell, medians over their rounds."""
    cpu = _read(folder / ("call_cpu_redis.json" if redis else "call_cpu.json"), "bench.call_cpu")
    memory = _read(folder / "side_by_side.json", "bench.side_by_side")["findings"].get("memory")
    if memory is None:
        raise SystemExit("side_by_side.json lacks the row `memory`: run `bench.side_by_side`")
    cached = _read(folder / "cached_rewards.json", "bench.cached_rewards")
    calls = _median(cpu["rounds"], "calls_per_future")
    in_flight = [one["resident MiB"][0] for one in memory["foresight"]]
    idle = statistics.median(one["idle MiB"][0] for one in memory["foresight"])
    futures = statistics.median(one["futures in flight"][0] for one in memory["foresight"])

    def of_redis(name: str) -> float:
        return _median(cpu["rounds"], f"redis_{name}_per_future") if redis else 0.0

    return Costs(
        reward_ms=_median(cpu["rounds"], "reward") * calls,
        turn_ms=_median(cpu["rounds"], "simulator") * calls / cpu["turns"],
        verdict_ms=_median(cpu["rounds"], "evaluator") * calls / cpu["verdicts"],
        future_kib=(statistics.median(in_flight) - idle) * 1024 / futures,
        idle_mib=idle,
        redis_ms=of_redis("cpu_ms"),
        redis_commands=of_redis("commands"),
        redis_kib=(of_redis("bytes_in") + of_redis("bytes_out")) / 1024,
        redis_memory_kib=of_redis("memory_bytes") / 1024,
        # Others only add to what passes over a network.
        network_kib=min(one["network_bytes_per_future"] for one in cpu["rounds"]) / 1024,
        cached_per_second=cached[REDIS_CACHE if redis else MEMORY_CACHE]["rewards_per_second"],
    )


def _read(path: Path, by: str) -> dict[str, Any]:
    if not path.exists():
        raise SystemExit(f"{path} is missing: `python -m {by}` writes it")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _median(rounds: Sequence[Mapping[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def table(sizes: Sequence[Size]) -> str:
    """Return the table, in Markdown."""
    rows = [
        ("GPUs", [f"{one.gpus}" for one in sizes]),
        ("futures/s", [_short(one.futures_per_second) for one in sizes]),
        ("groups/s", [_short(one.groups_per_second) for one in sizes]),
        *(
            (f"{role} calls/s", [_short(one.calls_per_second[role]) for one in sizes])
            for role in ROLES
        ),
        ("futures in flight", [_short(one.in_flight) for one in sizes]),
        *(
            (f"{name}: cores (replicas)", [_cores(one, name) for one in sizes])
            for name in sizes[0].cores
        ),
        ("memory of the simulators, MiB", [_short(one.simulator_mib) for one in sizes]),
        ("Redis commands/s", [_short(one.redis_commands_per_second) for one in sizes]),
        ("Redis MB/s", [_short(one.redis_mb_per_second) for one in sizes]),
        ("Redis memory, GiB", [_short(one.redis_gib) for one in sizes]),
        ("network, MB/s", [_short(one.network_mb_per_second) for one in sizes]),
        ("first bottleneck", [_load(one, one.bottleneck) for one in sizes]),
        ("first that replicas do not mend", [_load(one, one.shared_bottleneck) for one in sizes]),
    ]
    head, *body = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join([head, "|---" * (len(sizes) + 1) + "|", *body])


def _cores(one: Size, name: str) -> str:
    return f"{_short(one.cores[name])} ({one.replicas[name]})"


def _load(one: Size, what: str) -> str:
    return f"{what} {_short(one.loads[what])} ×"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Read the costs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the costs")
    parser.add_argument("--memory-cache", action="store_true", help="reckon without a Redis")
    parser.add_argument("--served", nargs="+", choices=ROLES, default=["policy"])
    plain = Demand(gpus=1)
    for name in _NUMBERS:
        value = getattr(plain, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = parser.parse_args()
    costs = costs_of(arguments.results, redis=not arguments.memory_cache)
    numbers = {name: getattr(arguments, name) for name in _NUMBERS}
    demands = [Demand(gpus, served=tuple(arguments.served), **numbers) for gpus in arguments.gpus]
    print(table([size(demand, costs, Limits()) for demand in demands]))


if __name__ == "__main__":
    main()
