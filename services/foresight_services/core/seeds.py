"""Seeds that depend on their place in the work and on nothing else.

A draw is named by the request's seed, the sample index and what is drawn, never by the candidate:
candidates of one group meet the same users (common random numbers), and a future is the same
whichever process simulates it, and in whatever order.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, sample: int, purpose: str, index: int = 0) -> int:
    """Return an unsigned 64-bit seed for draw number `index` of `purpose` in sample `sample`."""
    name = f"{seed}/{sample}/{purpose}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
