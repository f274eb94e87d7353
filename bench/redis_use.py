"""What a Redis did, as it counts itself: commands, CPU time, bytes, memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class RedisUse:
    """What a Redis has done since it was started."""

    commands: int
    """Commands, those of scripts and pipelines one by one."""
    cpu_seconds: float
    """CPU time, user and system, all threads."""
    bytes_in: int
    """Bytes that it read from the network."""
    bytes_out: int
    """Bytes that it wrote to the network."""
    memory_bytes: int
    """Memory that its data and their overhead take."""

    def since(self, before: RedisUse, futures: int) -> Mapping[str, float]:
        """Return what was added since `before` for each of `futures`."""
        return {
            "redis_commands_per_future": (self.commands - before.commands) / futures,
            "redis_cpu_ms_per_future": 1e3 * (self.cpu_seconds - before.cpu_seconds) / futures,
            "redis_bytes_in_per_future": (self.bytes_in - before.bytes_in) / futures,
            "redis_bytes_out_per_future": (self.bytes_out - before.bytes_out) / futures,
            "redis_memory_bytes_per_future": (self.memory_bytes - before.memory_bytes) / futures,
        }


def read(server: RedisServer) -> RedisUse:
    """Return what `server` has done."""
    answer = server.ask("INFO", "all")
    if not isinstance(answer, dict):
        raise RuntimeError("Redis tells nothing of itself")
    return from_info(answer)


def from_info(info: Mapping[str, Any]) -> RedisUse:
    """Return what Redis says in its answer to INFO."""
    return RedisUse(
        commands=int(info["total_commands_processed"]),
        cpu_seconds=float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
        bytes_in=int(info["total_net_input_bytes"]),
        bytes_out=int(info["total_net_output_bytes"]),
        memory_bytes=int(info["used_memory"]),
    )
