"""A reward model on a server, `vllm serve` with a sequence-classification model.

`POST /classify` with the messages, which the server puts into the model's chat template, and with
`use_activation` false: by default vLLM answers with the sigmoid of the logit. The server refuses
what is longer than its context; nothing is cut.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import Clock
from foresight_services.core.subject import Subject
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_faults import Sent, fault_of
from foresight_services.models.openai_http import OpenAIEndpoint
from foresight_services.models.retrying import RetryBudget, RetrySettings
from foresight_services.reward_models.markers import WIDESPREAD, failed, refuse_markers
from foresight_services.reward_models.once import Once

MAX_RESPONSE_BYTES: Final = 1 << 20
"""Longest answer that is read; one score takes a few hundred bytes."""

TRIED: Final = (Message("user", "Is it raining?"), Message("assistant", "No, it is dry."))
"""The conversation by which a server is tried."""


@dataclass(frozen=True, slots=True)
class VllmClassifySettings:
    """Where a reward model is served and how it is asked."""

    name: str
    """The configuration's name of the model, for errors."""
    base_url: str
    """Address of the server, such as `http://127.0.0.1:8000`, with or without `/v1`."""
    model: str
    """What the server calls the model."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as a bearer token; None sends none."""
    timeout_seconds: float = 60.0
    """Limit on one HTTP call."""
    connect_timeout_seconds: float = 5.0
    """Limit on making a connection."""
    max_concurrency: int = 64
    """Calls at once; more wait in line."""
    markers: tuple[str, ...] = WIDESPREAD
    """Texts that no message may hold, for the model's chat template marks turns by them."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        url = URL(self.base_url)
        if url.scheme not in ("http", "https") or not url.host or url.user or url.password:
            raise ValueError("base_url must be http://HOST or https://HOST, without a password")
        if not (self.timeout_seconds > 0 and self.connect_timeout_seconds > 0):
            raise ValueError("timeout_seconds, connect_timeout_seconds: must be more than 0")
        if self.max_concurrency < 1:
            raise ValueError("max_concurrency must be at least 1")


class VllmRewardModel:
    """A model of a server; implements the port `RewardModel`. Close it with `aclose`."""

    def __init__(
        self,
        settings: VllmClassifySettings,
        *,
        clock: Clock,
        wall_clock: Callable[[], float] = time.time,
        retry: RetrySettings | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare calls; connections are made when they are needed.

        Args:
            settings: where and how.
            clock: the clock of the subjects' deadlines.
            wall_clock: seconds since 1970, for a Retry-After that gives a date.
            retry: how often and how soon a failed call is tried again.
            rng: draws the jitter of the waits.
            sleep: waits for so many seconds.
        """
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock
        self._retry = retry or RetrySettings()
        self._budget = RetryBudget(self._retry, clock)
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._places = asyncio.Semaphore(settings.max_concurrency)
        self._tried = Once(self._try)
        self._server = OpenAIEndpoint(
            name=settings.name,
            base_url=settings.base_url.rstrip("/").removesuffix("/v1"),
            api_key=settings.api_key,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            max_connections=settings.max_concurrency,
            max_response_bytes=MAX_RESPONSE_BYTES,
            route="/classify",
        )

    async def prepare(self) -> None:
        """Have the server score a conversation, unless it has done so before.

        Raises:
            ModelFault: where the server or the way to it fails, or the server refuses.
            Upstream: METRIC_FAILED where it answers with anything but one logit.
        """
        await self._tried.get()

    async def aclose(self) -> None:
        """Close the connections; calls in flight fail."""
        await self._tried.aclose()
        await self._server.aclose()

    async def score(self, conversation: Conversation, subject: Subject) -> float:
        """Return the model's logit for `conversation`.

        Raises:
            Upstream: METRIC_FAILED where the conversation cannot be scored or the answer is none.
            ModelFault: where the server or the way to it fails, or the server refuses.
            DeadlinePassed: where the deadline comes first.
        """
        refuse_markers(conversation, self._settings.markers)
        async with self._places:
            return await self._ask(conversation, subject.deadline)

    async def _try(self) -> None:
        await self._ask(TRIED, None)

    async def _ask(self, conversation: Conversation, deadline: float | None) -> float:
        """Ask until the server answers or another try is not allowed."""
        failures: Counter[FaultKind] = Counter()
        self._budget.earn()
        while True:
            try:
                return await self._call(conversation, deadline)
            except ModelFault as fault:
                if fault.kind is FaultKind.CONTEXT:
                    raise failed("the conversation is longer than the model's context") from fault
                failures[fault.kind] += 1
                wait = self._wait_seconds(fault, failures.total())
                if not self._allowed(fault, failures, wait, deadline):
                    raise
            await self._sleep(wait)

    def _wait_seconds(self, fault: ModelFault, number: int) -> float:
        """Return how long to wait before retry `number`, counted from 1."""
        ceiling = min(
            self._retry.cap_seconds, self._retry.base_seconds * 2.0 ** min(number - 1, 30)
        )
        return (fault.retry_after_seconds or 0.0) + self._rng.uniform(0.0, ceiling)

    def _allowed(
        self, fault: ModelFault, failures: Counter[FaultKind], wait: float, deadline: float | None
    ) -> bool:
        """Return whether to try again; if so the budget has been charged."""
        if failures[fault.kind] > self._retry.retries.get(fault.kind, 0):
            return False
        if (fault.retry_after_seconds or 0.0) > self._retry.max_retry_after_seconds:
            return False
        if deadline is not None and self._clock.now() + wait >= deadline:
            return False
        return self._budget.spend()

    async def _call(self, conversation: Conversation, deadline: float | None) -> float:
        """Make one HTTP call."""
        settings, timeout = self._settings, self._settings.timeout_seconds
        if deadline is not None:
            timeout = min(timeout, deadline - self._clock.now())
            if timeout <= 0:
                raise DeadlinePassed
        body = {
            "model": settings.model,
            "messages": [{"role": m.role, "content": m.content} for m in conversation],
            "use_activation": False,
        }
        try:
            answer = await self._server.post(json.dumps(body).encode(), timeout)
        except ModelFault as fault:
            # The caller's impatience is no sign of a server in trouble.
            if fault.kind is FaultKind.TIMEOUT and timeout < settings.timeout_seconds:
                raise DeadlinePassed from fault
            raise
        if answer.status != 200:
            contents = tuple(message.content for message in conversation)
            sent = Sent(settings.model, contents, settings.api_key)
            raise fault_of(settings.name, answer, sent, self._wall_clock)
        return logit_in(answer.body)


def logit_in(body: bytes) -> float:
    """Return the one logit of an answer; Upstream with METRIC_FAILED where it holds none."""
    try:
        (result,) = json.loads(body)["data"]
        logits = result["probs"]
    except (ValueError, RecursionError, TypeError, LookupError) as error:
        raise failed("the server's answer holds no score") from error
    if not isinstance(logits, list) or not logits:
        raise failed("the server's answer holds no score")
    if len(logits) > 1:
        raise failed(f"the server's model has {len(logits)} labels; a reward model has one")
    logit = logits[0]
    if isinstance(logit, bool) or not isinstance(logit, int | float) or not math.isfinite(logit):
        raise failed("the server's score is not a finite number")
    return float(logit)
