"""How much work each row does in a round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.side_by_side.backend import Latency


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each row does in a round."""

    latencies: tuple[Latency, ...]
    """Under which the latency of one MR is measured."""
    paced_seconds: float
    """For how long MRs are begun under each of them."""
    reference_paced_seconds: float
    """The same for the reference, at half the rate."""
    batch_prompts: int
    """Prompts of the GRPO batch, eight candidates each."""
    serial_candidates: int
    """Candidates that the reference scores one after the other."""
    batch_mean_ms: float
    """Mean latency of its calls and of the saturated backend's."""
    reference_threads: int
    """Threads that share the reference's batch."""
    slots: int
    """Slots of the saturated backend."""
    saturated_groups: int
    """Prompts sent to it."""
    reference_saturated_groups: int
    """The same for the reference, which takes longer."""
    groups_at_once: int
    """Of those, how many at a time."""
    futures: int
    """Futures in flight in one simulator."""
    futures_mean_ms: float
    """Time of their calls, long enough that all are in flight at once."""


FULL: Final = Sizes(
    latencies=(
        Latency("lognormal", 50.0),
        Latency("lognormal", 200.0),
        Latency("lognormal", 800.0),
        Latency("fixed", 200.0),
        Latency("pareto", 200.0),
    ),
    paced_seconds=5.0,
    reference_paced_seconds=3.0,
    batch_prompts=16,
    serial_candidates=4,
    batch_mean_ms=200.0,
    reference_threads=128,
    slots=64,
    saturated_groups=32,
    reference_saturated_groups=20,
    groups_at_once=16,
    futures=5_120,
    futures_mean_ms=3_000.0,
)
"""What the numbers are measured with."""

SMALL: Final = Sizes(
    latencies=(Latency("lognormal", 20.0),),
    paced_seconds=0.5,
    reference_paced_seconds=1.0,
    batch_prompts=1,
    serial_candidates=2,
    batch_mean_ms=20.0,
    reference_threads=8,
    slots=8,
    saturated_groups=4,
    reference_saturated_groups=4,
    groups_at_once=2,
    futures=32,
    futures_mean_ms=200.0,
)
"""Enough to see that everything runs; the numbers mean nothing."""
