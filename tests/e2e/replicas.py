"""Replicas of the reward service as processes, over one real Redis and models of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight import AsyncClient
from tests.e2e.cli_process import Running, started
from tests.e2e.stage import MODELS, Stage
from tests.fakes.openai_server import OpenAIServer, openai_server
from tests.fakes.redis_server import RedisServer, redis_server

CACHE = """
cache: {{url: "{redis}", {settings}}}
"""


@dataclass
class Deployment:
    """What runs, and how it is reached."""

    stage: Stage
    server: OpenAIServer
    redis: RedisServer
    replicas: list[Running]
    clients: list[AsyncClient]

    @property
    def calls(self) -> int:
        """How many calls the models have had."""
        return len(self.server.calls)

    def stored(self, namespace: str) -> int:
        """How many values of a kind Redis holds."""
        names: Any = self.redis.ask("KEYS", f"foresight:{namespace}:{{*}}")
        return len(names)


@asynccontextmanager
async def deployment(folder: Path, *, replicas: int, settings: str) -> AsyncIterator[Deployment]:
    """Run so many replicas with `settings` of the cache, a simulator and an evaluator."""
    stage = Stage()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(openai_server(stage.play))
        redis = stack.enter_context(redis_server(folder))
        config = folder / "foresight.yaml"
        cache = CACHE.format(redis=redis.url, settings=settings)
        config.write_text(MODELS.format(url=server.base_url) + cache)

        def serve(*arguments: str) -> Running:
            options = ("--config", str(config), "--listen", "127.0.0.1:0", "--metrics", "none")
            return stack.enter_context(started("serve", *arguments, *options))

        simulator, evaluator = _address(serve("simulator")), _address(serve("evaluator"))
        peers = ("--simulator", simulator, "--evaluator", evaluator)
        running = [serve("reward", *peers) for _ in range(replicas)]
        clients = [
            await stack.enter_async_context(AsyncClient(_address(replica))) for replica in running
        ]
        for replica in running:
            replica.out.wait_for("^reward is ready$")
        yield Deployment(stage, server, redis, running, clients)
        # So that no service waits for models as it ends.
        stage.go_on()


def _address(service: Running) -> str:
    return service.out.wait_for(r"^serving \w+ on (\S+)")[1].rstrip(",")
