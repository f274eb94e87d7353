"""How much there was to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from foresight_services.core.conversation import Conversation
from foresight_services.core.future import EvaluationItem, EvaluationSetup, MetricInfo
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import ChatModel
from foresight_services.core.usage import Ledger
from foresight_services.metrics.words import count_words

TOKENS_PER_UNIT = 1000.0


class TokenAmount:
    """Thousands of tokens; less is better. At least 0, bounded by the limits on messages.

    Parameter `scope`: `assistant` (default), all assistant messages, those of the prefix included,
    as CollabLLM 0.0.8's `token_amount` counts them; `future`, candidate and future of both roles,
    as the paper's penalty does; `all`, every message. Parameter `tokenizer`: `words` (default),
    words and punctuation marks, which needs no vocabulary. Inputs: the complete conversation.
    """

    name: ClassVar[str] = "token_amount"
    parameters: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "scope": ("assistant", "future", "all"),
        "tokenizer": ("words",),
    }

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, judge: ChatModel) -> None:
        del judge
        self._scope = str(spec.parameters.get("scope", "assistant"))
        prefix = 0 if self._scope == "future" else self._count(setup.prefix)
        self._fixed = tuple(prefix + count_words(text) for text in setup.candidates)
        replies = setup.horizon_messages
        if self._scope == "assistant":
            replies //= 2
        self._most_added = replies * setup.max_message_tokens

    @property
    def info(self) -> MetricInfo:
        """Name, version and range."""
        low, high = min(self._fixed), max(self._fixed) + self._most_added
        return MetricInfo(self.name, "1", Range(low / TOKENS_PER_UNIT, high / TOKENS_PER_UNIT))

    async def score(self, item: EvaluationItem, ledger: Ledger) -> float:
        """Count the tokens of the future and add those of what came before it."""
        tokens = self._fixed[item.id.candidate] + self._count(item.messages)
        return tokens / TOKENS_PER_UNIT

    def _count(self, messages: Conversation) -> int:
        every = self._scope != "assistant"
        return sum(count_words(m.content) for m in messages if every or m.role == "assistant")
