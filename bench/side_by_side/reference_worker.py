"""The reference's process: CollabLLM 0.0.8's own `multiturn_aware_reward`, as its trainers call it.

    .venv-parity/bin/python -m bench.side_by_side.reference_worker ADDRESS

Reads orders, one JSON object a line, and answers each with one line: when every case began and
ended, by the monotonic clock. An order names its cases and either how many threads share them, or
the seconds from one case's start to the next one's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.parity.reference_side import prepare_environment
from bench.side_by_side import cases

Span = tuple[int, float, float]
"""A case, when it began, when it ended."""


def main(address: str) -> None:
    """Carry out orders until there are no more."""
    prepare_environment()
    # Heavy, and reads the environment.
    from collabllm.reward import multiturn_aware_reward

    # Registers the metrics that the wheel lacks.
    import bench.parity.reference_rewards  # noqa: F401

    def score(case: int) -> Span:
        begin = time.monotonic()
        rewards = multiturn_aware_reward(**arguments(case, address))
        if len(rewards["MR"]) != cases.FUTURES:
            raise RuntimeError(f"case {case} has {len(rewards['MR'])} rewards")
        return case, begin, time.monotonic()

    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "threads" in order:
            with ThreadPoolExecutor(order["threads"]) as pool:
                spans = list(pool.map(score, order["cases"]))
        else:
            spans = paced(order["cases"], order["interval"], score)
        print(json.dumps(spans), flush=True)


def arguments(case: int, address: str) -> dict[str, Any]:
    """Return what the reference is called with."""
    prompt = cases.prompt_number(case)
    model = {"api_base": f"{address}/v1", "api_key": "none"}
    return {
        "task_desc": cases.DESCRIPTION,
        "single_turn_prompt": cases.goal(prompt),
        "single_turn_completion": cases.REFERENCE,
        "metadata": {},
        "metric_names": list(cases.METRICS),
        "metric_weights": list(cases.METRICS.values()),
        "reward_generation_kwargs": {"model": "openai/judge", **model},
        "chat_history": [
            *cases.prefix(prompt),
            {"role": "assistant", "content": cases.candidate(case)},
        ],
        "assistant_generation_kwargs": {"model": "openai/policy", **model},
        "user_generation_kwargs": {"model": "openai/user", **model},
        "num_samples": cases.FUTURES,
        "max_new_turns": cases.HORIZON,
        "verbose": False,
    }


def paced(asked: Sequence[int], interval: float, score: Callable[[int], Span]) -> list[Span]:
    """Start a case every `interval` seconds, whether or not the one before it has ended."""
    begin = time.monotonic()
    with ThreadPoolExecutor(len(asked)) as pool:
        running = []
        for number, case in enumerate(asked):
            time.sleep(max(0.0, begin + number * interval - time.monotonic()))
            running.append(pool.submit(score, case))
        return [one.result() for one in running]


if __name__ == "__main__":
    main(*sys.argv[1:])
