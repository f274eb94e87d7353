"""The protocol of TRL's generation server before TRL 1.11: `POST /chat/`, token ids for an answer.

The server renders the chat template and answers with ids alone, so the policy's tokenizer is needed
here (`tokenizers`, imported when a server turns out to need it). The server works on one call at a
time, and one that does not fit its context ends its worker and with it the training run, so such a
call is never sent: room is left for what the template adds to the messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import ChatReply, ChatRequest, Clock
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_faults import Sent, fault_of
from foresight_services.models.openai_http import Answer, OpenAIEndpoint

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEMPLATE_TOKENS: Final = 16
"""Tokens that a chat template is taken to add per message, and once more for the whole."""

_SEEDS: Final = 2**63
"""Seeds are sent modulo this: vLLM's are signed."""


@dataclass(frozen=True, slots=True)
class TrlChatSettings:
    """Where the server is and how the policy is sampled."""

    name: str
    """The configuration's name of the model, for errors."""
    base_url: str
    """Address of the server, such as `http://127.0.0.1:8000`."""
    sampling: Mapping[str, Any]
    """Sampling by vLLM's names."""
    tokenizer: str
    """File `tokenizer.json` of the policy, or its directory."""
    context_tokens: int
    """The server's `max_model_len`, in tokens."""
    timeout_seconds: float
    """Limit on one call."""
    connect_timeout_seconds: float
    """Limit on making a connection."""
    max_response_bytes: int
    """Longest answer that is read."""


class TrlChatModel:
    """Asks the policy on such a server; implements the port `ChatModel`. Close it with `aclose`."""

    def __init__(self, settings: TrlChatSettings, *, clock: Clock) -> None:
        """Read the tokenizer.

        Raises:
            ModelFault: BAD_REQUEST where it cannot be read.
        """
        self._settings = settings
        self._clock = clock
        self._tokenizer = _read(settings)
        self._server = OpenAIEndpoint(
            name=settings.name,
            base_url=settings.base_url,
            api_key=None,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            # The server works on one call at a time; more connections would only wait there.
            max_connections=64,
            max_response_bytes=settings.max_response_bytes,
            route="/chat/",
        )

    async def aclose(self) -> None:
        """Close the connections; calls in flight fail."""
        await self._server.aclose()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the policy's reply; a schema is not sent, for the server enforces none.

        Raises:
            ModelFault: where the server or the way to it fails.
            DeadlinePassed: where the request's deadline comes before the end of the timeout.
        """
        settings, timeout = self._settings, self._settings.timeout_seconds
        contents = tuple(message.content for message in request.messages)
        room = settings.context_tokens - self._tokens(contents)
        if room < 1:
            raise self._fault(
                FaultKind.CONTEXT, "the conversation no longer fits the model's context"
            )
        if request.deadline is not None:
            timeout = min(timeout, request.deadline - self._clock.now())
            if timeout <= 0:
                raise DeadlinePassed
        limit = min(request.max_tokens, room)
        try:
            answer = await self._server.post(self._body(request, limit), timeout)
        except ModelFault as fault:
            if fault.kind is FaultKind.TIMEOUT and timeout < settings.timeout_seconds:
                raise DeadlinePassed from fault
            raise
        if answer.status != 200:
            # The server gives no reason to wait until a date, so it needs no wall clock.
            raise fault_of(settings.name, answer, Sent("", contents, None), lambda: 0.0)
        return self._reply(request, limit, answer)

    def _tokens(self, contents: tuple[str, ...]) -> int:
        """Return an upper bound of the prompt's length in tokens."""
        encodings = self._tokenizer.encode_batch(list(contents), add_special_tokens=False)
        added = _TEMPLATE_TOKENS * (len(contents) + 1)
        return sum(len(encoding.ids) for encoding in encodings) + added

    def _body(self, request: ChatRequest, limit: int) -> bytes:
        drawn: dict[str, Any] = {"seed": request.seed % _SEEDS}
        if request.stop:
            drawn["stop"] = request.stop
        body = {
            **self._settings.sampling,
            "messages": [[{"role": m.role, "content": m.content} for m in request.messages]],
            "n": request.choices,
            "max_tokens": limit,
            "generation_kwargs": drawn,
        }
        return json.dumps(body, separators=(",", ":")).encode()

    def _reply(self, request: ChatRequest, limit: int, answer: Answer) -> ChatReply:
        try:
            data = json.loads(answer.body)
            (read,), written = data["prompt_ids"], data["completion_ids"]
            drawn = self._tokenizer.decode_batch(written, skip_special_tokens=True)
            lengths = [len(ids) for ids in written]
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            problem = "the answer is not that of TRL's /chat/"
            raise self._fault(FaultKind.MALFORMED, problem) from error
        if len(drawn) != request.choices:
            problem = f"{len(drawn)} choices came in place of {request.choices}"
            raise self._fault(FaultKind.MALFORMED, problem)
        # The ids hold the stop text, which the text of a reply leaves out.
        texts = [_before(text, request.stop) for text in drawn]
        if not all(text.strip() for text in texts):
            raise self._fault(FaultKind.EMPTY, "the reply is empty")
        cut = lengths[0] >= limit and texts[0] == drawn[0]
        return ChatReply(
            text=texts[0],
            prompt_tokens=len(read),
            completion_tokens=sum(lengths),
            finish="length" if cut else "stop",
            others=tuple(texts[1:]),
        )

    def _fault(self, kind: FaultKind, problem: str) -> ModelFault:
        return ModelFault(kind, self._settings.name, problem)


def _before(text: str, stop: tuple[str, ...]) -> str:
    return text[: min((at for end in stop if (at := text.find(end)) >= 0), default=len(text))]


def _read(settings: TrlChatSettings) -> Tokenizer:
    path = Path(settings.tokenizer)
    try:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(path / "tokenizer.json" if path.is_dir() else path))
    except Exception as error:  # the library raises nothing more special
        problem = f"the tokenizer cannot be read: {error}"
        raise ModelFault(FaultKind.BAD_REQUEST, settings.name, problem) from error
