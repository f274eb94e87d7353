"""Print how often the interval of `core.estimator` covers the true mean, and how wide it is.

Distributions with few values are enumerated, so their rows are exact; the others are simulated
with a fixed seed. The objective's range is [0, 1] throughout. The last rows are hard cases: an
outcome so rare that a sample of usual size seldom shows it.

    PYTHONPATH=services python bench/interval_coverage.py --sizes 3 8 64
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from foresight_services.core.estimator import estimate

Sample = Sequence[float]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of the objective on [0, 1]: either a few atoms or a way to draw."""

    name: str
    mean: float
    atoms: tuple[tuple[float, float], ...] = ()
    """Pairs of value and probability; empty where `draw` is used instead."""
    draw: Callable[[random.Random], float] | None = None

    def samples(self, n: int, draws: int, seed: int) -> Iterator[tuple[Sample, float]]:
        """Yield samples of size `n` with their probabilities, or simulated ones of equal weight."""
        if self.draw is None:
            for sample in combinations_with_replacement(self.atoms, n):
                orders = math.factorial(n)
                for count in Counter(sample).values():
                    orders //= math.factorial(count)
                yield [value for value, _ in sample], orders * math.prod(p for _, p in sample)
            return
        rng = random.Random(f"{seed}/{self.name}/{n}")
        for _ in range(draws):
            yield [self.draw(rng) for _ in range(n)], 1.0 / draws


def _discrete(name: str, *atoms: tuple[float, float]) -> Distribution:
    return Distribution(name, math.fsum(value * p for value, p in atoms), atoms=atoms)


def _mixture(rng: random.Random) -> float:
    """Return 0 one time in a hundred, else a value spread evenly over [0.8, 1]."""
    return 0.0 if rng.random() < 0.01 else rng.uniform(0.8, 1.0)


DISTRIBUTIONS = (
    *(_discrete(f"Bernoulli {p}", (0.0, 1 - p), (1.0, p)) for p in (0.02, 0.1, 0.3, 0.5, 0.9)),
    _discrete("two-point .2/.95", (0.2, 0.93), (0.95, 0.07)),
    _discrete("0, 1/2, 1", (0.0, 0.2), (0.5, 0.3), (1.0, 0.5)),
    Distribution("uniform", 0.5, draw=lambda rng: rng.random()),
    Distribution("Beta(.3, .3)", 0.5, draw=lambda rng: rng.betavariate(0.3, 0.3)),
    Distribution("Beta(.5, 5)", 0.5 / 5.5, draw=lambda rng: rng.betavariate(0.5, 5.0)),
    Distribution("rare 0, wide rest", 0.99 * 0.9, draw=_mixture),
    _discrete("rare 0, narrow rest", (0.0, 0.01), (0.88, 0.495), (0.92, 0.495)),
)


def measure(
    distribution: Distribution, n: int, *, draws: int, seed: int, level: float
) -> tuple[float, float, float]:
    """Return the chance of coverage, the mean width, and the chance that Student-t was used."""
    covered = width = student = 0.0
    for sample, probability in distribution.samples(n, draws, seed):
        interval = estimate(sample, value_range=(0.0, 1.0), level=level).interval
        if interval is None:
            raise RuntimeError("a known range always gives an interval")
        covered += probability * (interval.low <= distribution.mean <= interval.high)
        width += probability * (interval.high - interval.low)
        student += probability * (interval.method == "student_t")
    return covered, width, student


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4, 5, 6, 7, 8, 32, 64])
    parser.add_argument("--draws", type=int, default=4000, help="simulated samples per cell")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--level", type=float, default=0.95)
    options = parser.parse_args()
    noise = math.sqrt(options.level * (1 - options.level) / options.draws)
    print(f"nominal {options.level:.1%}; simulated rows (~) have a standard error of {noise:.2%}")
    print("each cell: coverage %, mean width, share of samples with the Student-t interval %")
    print(f"{'':22}" + "".join(f"{f'n={n}':>18}" for n in options.sizes))
    for distribution in DISTRIBUTIONS:
        cells = []
        for n in options.sizes:
            covered, width, student = measure(
                distribution, n, draws=options.draws, seed=options.seed, level=options.level
            )
            cells.append(f"{covered * 100:8.2f} {width:5.3f} {student * 100:3.0f}")
        mark = " " if distribution.draw is None else "~"
        print(f"{mark}{distribution.name:21}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
