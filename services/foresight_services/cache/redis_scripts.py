"""Scripts that Redis runs: each on one key, a lease, whose value is its owner's name."""

from __future__ import annotations

from typing import Final

# Who asks again holds what it held, so that an answer that was lost does no harm. A lease that
# never ends is none of ours, and nobody would ever release it.
ACQUIRE: Final = (
    "local holder = redis.call('GET', KEYS[1]) "
    "if holder and holder ~= ARGV[1] and redis.call('PTTL', KEYS[1]) >= 0 then return 0 end "
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
)
RENEW: Final = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "return redis.call('PEXPIRE', KEYS[1], ARGV[2])"
)
RELEASE: Final = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('DEL', KEYS[1])"
)
