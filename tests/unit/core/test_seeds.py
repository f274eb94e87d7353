"""Seeds: stable across processes and releases, different for every draw."""

from __future__ import annotations

import itertools

from foresight_services.core.seeds import derive_seed


def test_seeds_are_stable() -> None:
    # Written down, because a change would give every reward a new value without a word.
    assert derive_seed(0, 0, "goal") == 0x2078858701C60CC0
    assert derive_seed(7, 2, "user", 3) == 0xD3B58142E8649334


def test_every_part_of_the_name_matters() -> None:
    draws = [
        derive_seed(seed, sample, purpose, index)
        for seed, sample, purpose, index in itertools.product(
            (0, 1, 2**64 - 1), (0, 1, 11), ("user", "assistant", "goal"), (0, 1, 11)
        )
    ]
    assert len(set(draws)) == len(draws)


def test_neighbouring_numbers_do_not_run_together() -> None:
    assert derive_seed(1, 11, "user") != derive_seed(11, 1, "user")
    assert derive_seed(0, 1, "user", 2) != derive_seed(0, 12, "user")


def test_a_seed_is_an_unsigned_64_bit_integer() -> None:
    assert all(0 <= derive_seed(0, sample, "user") < 2**64 for sample in range(1000))
