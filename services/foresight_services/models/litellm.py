"""The `litellm` backend: every hosted provider that the LiteLLM library knows.

LiteLLM is imported when the first model is made, which takes seconds, and never without one. It is
kept from what it does unasked: it fetches no price list at import, loads no `.env` file and retries
nothing; decorators on the port do that. It costs milliseconds of CPU for a call; for whatever
speaks the OpenAI chat API, the backend `openai` does the same for a tenth.

Parameters that a provider does not know are left out, `seed` and the JSON schema among them, so
equal requests give equal replies only where the provider honours seeds.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.objective import JsonValue
from foresight_services.core.ports import ChatReply, ChatRequest, Clock
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.litellm_faults import fault_of
from foresight_services.models.litellm_reply import draw_from
from foresight_services.models.openai_faults import Sent
from foresight_services.models.openai_reply import Draw

_SEEDS: Final = 2**31 - 2**16
"""Seeds are sent modulo this: every provider takes them, and those of further choices, as int32."""

_RESERVED: Final = frozenset(
    {"api_key", "max_retries", "messages", "model", "n", "num_retries", "stream", "timeout"}
)
"""Arguments that a configuration cannot set."""

ENVIRONMENT: Final = {
    # The price list and the limits of models come with the package; it would fetch newer ones.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # In its development mode it reads secrets from whatever `.env` file it finds.
    "LITELLM_MODE": "PRODUCTION",
}
"""What LiteLLM is told before it is imported."""


@dataclass(frozen=True, slots=True)
class LiteLLMSettings:
    """Which model is asked, and how."""

    name: str
    """The configuration's name of the model, for errors."""
    model: str
    """The model as LiteLLM names it: `PROVIDER/NAME`, or the name alone of well-known ones."""
    api_key_env: str = ""
    """Environment variable that holds the key. Default: the provider's own, if it needs one."""
    api_base: str = ""
    """Address of the API. Default: the provider's."""
    temperature: float | None = None
    """Sampling temperature, 0 or more; None leaves it to the provider."""
    top_p: float | None = None
    """Nucleus sampling, in (0, 1]; None leaves it to the provider."""
    timeout_seconds: float = 120.0
    """Limit on one call."""
    extra: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}))
    """Further arguments of every call, as `litellm.acompletion` takes them."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        if self.temperature is not None and not 0 <= self.temperature < math.inf:
            raise ValueError("temperature must be 0 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError("top_p must be in (0, 1]")
        if not self.timeout_seconds > 0:
            raise ValueError("timeout_seconds must be longer than 0 s")
        if taken := sorted(_RESERVED & self.extra.keys()):
            raise ValueError(f"extra must not set {', '.join(taken)}")


def import_litellm() -> Any:
    """Import LiteLLM so that it reaches out for nothing.

    Raises:
        ValueError: where it is not installed.
    """
    os.environ.update(ENVIRONMENT)
    try:
        litellm: Any = importlib.import_module("litellm")
    except ModuleNotFoundError as error:
        raise ValueError(f"the package litellm cannot be imported: {error}") from error
    litellm.telemetry = False
    # It would print advice to stdout for every failed call.
    litellm.suppress_debug_info = True
    return litellm


class LiteLLMModel:
    """Asks one model of one provider; implements the port `ChatModel`. Close it with `aclose`."""

    def __init__(
        self,
        settings: LiteLLMSettings,
        *,
        clock: Clock,
        wall_clock: Callable[[], float] = time.time,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Import LiteLLM and prepare calls; connections are made when they are needed.

        Args:
            settings: what to ask, and how.
            clock: the clock of the requests' deadlines.
            wall_clock: seconds since 1970, for a Retry-After that gives a date.
            environment: where the key is.

        Raises:
            ValueError: where LiteLLM is not installed, no provider has such a model or the
                variable with the key is not set.
        """
        key = environment.get(settings.api_key_env, "")
        if settings.api_key_env and not key:
            raise ValueError(f"the environment variable {settings.api_key_env} is not set")
        self._litellm = import_litellm()
        try:
            self._litellm.get_llm_provider(settings.model, api_base=settings.api_base or None)
        except self._litellm.BadRequestError as error:
            raise ValueError(
                f"{settings.model!r} names no provider that LiteLLM knows; write PROVIDER/MODEL"
            ) from error
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock
        self._key = key or None
        self._takes_n = True
        self._fixed = self._arguments()

    async def aclose(self) -> None:
        """Close the connections of all models of this backend, which LiteLLM keeps together."""
        await self._litellm.close_litellm_async_clients()
        self._litellm.in_memory_llm_clients_cache.flush_cache()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply.

        Raises:
            ModelFault: where the provider or the way to it fails.
            DeadlinePassed: where the request's deadline comes before the end of the timeout.
        """
        wanted = request.choices
        draws: list[Draw] = []
        if wanted == 1 or self._takes_n:
            draws.append(await self._draw(request, 0, wanted))
            self._takes_n = self._takes_n and len(draws[0].texts) > min(1, wanted - 1)
        have = sum(len(draw.texts) for draw in draws)
        if have < wanted:
            draws += await self._draw_each(request, range(have, wanted))
        texts = [text for draw in draws for text in draw.texts]
        return ChatReply(
            texts[0],
            sum(draw.prompt_tokens for draw in draws),
            sum(draw.completion_tokens for draw in draws),
            sum(draw.cached_tokens for draw in draws),
            draws[0].finish,
            tuple(texts[1:]),
        )

    async def _draw_each(self, request: ChatRequest, offsets: range) -> list[Draw]:
        """Draw choices by a call each; where one fails, the others are cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(self._draw(request, i, 1)) for i in offsets]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return [call.result() for call in calls]

    async def _draw(self, request: ChatRequest, offset: int, n: int) -> Draw:
        """Draw up to `n` choices in one call, the first with the seed of choice `offset`."""
        settings, timeout = self._settings, self._settings.timeout_seconds
        if request.deadline is not None:
            timeout = min(timeout, request.deadline - self._clock.now())
            if timeout <= 0:
                raise DeadlinePassed
        try:
            # LiteLLM's own limit is one on each wait for data, not on the call.
            async with asyncio.timeout(timeout):
                response = await self._litellm.acompletion(
                    **self._fixed, **self._drawn(request, offset, n), timeout=timeout
                )
        except (self._litellm.Timeout, TimeoutError) as error:
            # The caller's impatience is no sign of a provider in trouble.
            if timeout < settings.timeout_seconds:
                raise DeadlinePassed from error
            problem = f"no answer within {timeout:g} s"
            raise ModelFault(FaultKind.TIMEOUT, settings.name, problem) from error
        except Exception as error:
            contents = tuple(message.content for message in request.messages)
            sent = Sent(settings.model, contents, self._key)
            raise fault_of(settings.name, error, sent, self._wall_clock) from error
        return draw_from(settings.name, response, wanted=n, stop=request.stop)

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments that all calls share."""
        settings = self._settings
        arguments: dict[str, Any] = {
            "model": settings.model,
            "api_key": self._key,
            "api_base": settings.api_base or None,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            **settings.extra,
        }
        given = {name: value for name, value in arguments.items() if value is not None}
        return {**given, "drop_params": True, "num_retries": 0, "max_retries": 0}

    def _drawn(self, request: ChatRequest, offset: int, n: int) -> dict[str, Any]:
        """Return the arguments of one call."""
        arguments: dict[str, Any] = {
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "max_tokens": request.max_tokens,
            "seed": request.seed % _SEEDS + offset,
        }
        if n > 1:
            arguments["n"] = n
        if request.stop:
            arguments["stop"] = list(request.stop)
        if request.schema is not None:
            schema = dict(request.schema)
            form = {"name": "reply", "schema": schema, "strict": _is_closed(schema)}
            arguments["response_format"] = {"type": "json_schema", "json_schema": form}
        return {name: value for name, value in arguments.items() if name not in self._fixed}


def _is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether `schema` leaves nothing open, which providers ask of one that they enforce."""
    names = schema.get("properties", {}).keys()
    return schema.get("additionalProperties") is False and names == set(schema.get("required", ()))
