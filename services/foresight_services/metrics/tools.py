"""What metrics may use beside the conversation: the evaluator's judge, its sandbox, its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from foresight_services.core.conversation import Conversation
from foresight_services.core.subject import Subject
from foresight_services.metrics.judging.judge import Judge

if TYPE_CHECKING:
    from foresight_services.sandbox.port import CodeSandbox


class TokenCounter(Protocol):
    """Counts tokens as one tokenizer does."""

    def count(self, text: str) -> int:
        """Return the number of tokens in `text`; special tokens are counted as plain text."""
        ...


class TokenCounters(Protocol):
    """The tokenizers that there are."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        ...

    def get(self, name: str) -> TokenCounter:
        """Return the tokenizer called `name`, loaded when it is first asked for.

        Raises:
            Precondition: METRIC_UNAVAILABLE where its files or its library are not there.
        """
        ...


class RewardModel(Protocol):
    """A model trained to score conversations (sequence classification with one label)."""

    async def score(self, conversation: Conversation, subject: Subject) -> float:
        """Return the model's logit for `conversation`, unbounded."""
        ...


ToolName = Literal["judge", "token_counters", "sandbox", "reward_models", "bertscore"]
"""What scores can depend on beside the conversation."""


class TextMatcher(Protocol):
    """An encoder that tells how much of one text is found in another (BERTScore)."""

    async def match(self, text: str, reference: str) -> tuple[float, float]:
        """Return precision and recall of `text`, each from -1 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What an evaluator has."""

    judge: Judge
    """Who judges."""
    token_counters: TokenCounters
    """Tokenizers by name."""
    sandbox: CodeSandbox | None = None
    """Where code is run; None where nothing is configured to."""
    reward_models: Mapping[str, RewardModel] = field(default_factory=lambda: MappingProxyType({}))
    """Reward models by name."""
    identities: Mapping[ToolName, str] = field(default_factory=lambda: MappingProxyType({}))
    """Digests of all that determines what the tools say. Scores of a metric that uses a tool
    without one are not cached."""
    bertscore: TextMatcher | None = None
    """The encoder of `bertscore`; None where none is configured."""
