"""TRL's own generation server: the very weights that are being trained, with no sync of ours.

TRL pushes each step's weights into the server that it draws its rollouts from (`trl vllm-serve`,
which since TRL 1.11 runs `vllm serve` with TRL's flags). This backend asks that same server, with
the sampling that TRL's client asks for, so that a future is played by whatever the policy is at
that moment. The server's first model is the one under training, whatever it is called.

Servers of TRL before 1.11 speak a protocol of their own (`trl_chat.py`); which one it is, the first
call finds out.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest, Clock
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.models.openai_http import OpenAIEndpoint
from foresight_services.models.trl_chat import TrlChatModel, TrlChatSettings


@dataclass(frozen=True, slots=True)
class TrlServerSettings:
    """Where TRL's server is and how the policy is sampled; defaults are those of TRL's trainers."""

    name: str
    """The configuration's name of the model, for errors."""
    base_url: str
    """Address of the server, such as `http://127.0.0.1:8000`."""
    temperature: float = 1.0
    """Sampling temperature, 0 or more."""
    top_p: float = 1.0
    """Probability mass to sample from, in (0, 1]."""
    top_k: int = -1
    """How many of the likeliest tokens to sample from; -1 for all."""
    min_p: float = 0.0
    """Least probability of a token, as a share of the likeliest one's, 0 to 1."""
    repetition_penalty: float = 1.0
    """Penalty of tokens that occurred; 1 for none."""
    timeout_seconds: float = 120.0
    """Limit on one call; the server stands still while it takes in new weights."""
    connect_timeout_seconds: float = 5.0
    """Limit on making a connection."""
    max_connections: int = 1024
    """Most connections at once; further calls wait for one."""
    max_response_bytes: int = 8 << 20
    """Longest answer that is read."""
    tokenizer: str | None = None
    """File `tokenizer.json` of the policy, or its directory; only servers of TRL before 1.11 need
    it, for they answer in token ids."""
    context_tokens: int | None = None
    """The server's `max_model_len`; needed with `tokenizer`."""

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling by vLLM's names, which a server would else take from the model's files."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
        }


class TrlServerModel:
    """Asks the policy on TRL's server; implements the port `ChatModel`. Close it with `aclose`."""

    def __init__(self, settings: TrlServerSettings, *, clock: Clock) -> None:
        """Prepare calls; `clock` is the clock of the requests' deadlines."""
        self._settings = settings
        self._clock = clock
        self._url = settings.base_url.rstrip("/").removesuffix("/v1")
        self._connections = OpenAIEndpoint(
            name=settings.name,
            base_url=f"{self._url}/v1",
            api_key=None,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            max_connections=settings.max_connections,
            max_response_bytes=settings.max_response_bytes,
        )
        self._chat: TrlChatModel | None = None
        self._asking: asyncio.Task[ChatModel] | None = None

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the policy's reply.

        Raises:
            ModelFault: where the server or the way to it fails.
            DeadlinePassed: where the request's deadline comes before the end of the timeout.
        """
        asking = self._asking
        if asking is None or (asking.done() and (asking.cancelled() or asking.exception())):
            asking = self._asking = asyncio.create_task(self._ask())
        # A caller that leaves must not take the answer from the others that wait for it.
        backend = await asyncio.shield(asking)
        try:
            return await backend.complete(request)
        except ModelFault as fault:
            # The server was started anew with another model: ask for its name again.
            if fault.kind is FaultKind.UNKNOWN_MODEL and self._asking is asking:
                self._asking = None
            raise

    async def aclose(self) -> None:
        """Close the connections; calls in flight fail."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await self._connections.aclose()
        if self._chat is not None:
            await self._chat.aclose()

    async def _ask(self) -> ChatModel:
        """Return the backend for the protocol that the server speaks."""
        settings = self._settings
        status, body = await self._models()
        if status == 404:
            return self._older()
        if status != 200:
            kind = FaultKind.SERVER_ERROR if status >= 500 else FaultKind.BAD_REQUEST
            raise self._fault(kind, f"the server answers /v1/models with HTTP {status}")
        try:
            model = json.loads(body)["data"][0]["id"]
        except (ValueError, TypeError, LookupError) as error:
            problem = "the server's list of models cannot be read"
            raise self._fault(FaultKind.MALFORMED, problem) from error
        return OpenAIModel(
            OpenAISettings(
                name=settings.name,
                base_url=f"{self._url}/v1",
                model=str(model),
                api_key=None,
                temperature=settings.temperature,
                timeout_seconds=settings.timeout_seconds,
                extra_body=settings.sampling,
            ),
            clock=self._clock,
            endpoint=self._connections,
        )

    def _older(self) -> ChatModel:
        settings = self._settings
        if settings.tokenizer is None or settings.context_tokens is None:
            raise self._fault(
                FaultKind.BAD_REQUEST,
                "the server has no /v1/models, so it is of a TRL before 1.11, which answers in"
                " token ids: set `tokenizer` and `context_tokens`",
            )
        if self._chat is None:
            self._chat = TrlChatModel(
                TrlChatSettings(
                    name=settings.name,
                    base_url=self._url,
                    sampling=settings.sampling,
                    tokenizer=settings.tokenizer,
                    context_tokens=settings.context_tokens,
                    timeout_seconds=settings.timeout_seconds,
                    connect_timeout_seconds=settings.connect_timeout_seconds,
                    max_response_bytes=settings.max_response_bytes,
                ),
                clock=self._clock,
            )
        return self._chat

    async def _models(self) -> tuple[int, bytes]:
        settings = self._settings
        timeout = aiohttp.ClientTimeout(
            total=settings.timeout_seconds, sock_connect=settings.connect_timeout_seconds
        )
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self._url}/v1/models", allow_redirects=False) as answer,
            ):
                return answer.status, await answer.read()
        except TimeoutError as error:
            raise self._fault(FaultKind.TIMEOUT, "no answer to /v1/models in time") from error
        except (aiohttp.ClientError, OSError) as error:
            problem = f"cannot be reached: {type(error).__name__}"
            raise self._fault(FaultKind.CONNECTION, problem) from error

    def _fault(self, kind: FaultKind, problem: str) -> ModelFault:
        return ModelFault(kind, self._settings.name, problem)
