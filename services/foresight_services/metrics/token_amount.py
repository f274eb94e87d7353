"""How much there was to read and to type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from foresight_services.core.conversation import Conversation, Message, Role
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import Direction, EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.core.suggest import one_of
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.offload import LONG_TEXT, in_thread
from foresight_services.metrics.tokenizers import Divisible
from foresight_services.metrics.tools import TokenCounter, Tools

TOKENS_PER_UNIT: Final = 1000.0
BOUNDED: Final = ("words", "whitespace")
"""Tokenizers that count no more than the limit on messages does, which is in words and marks."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The tokens of a text that grows: a count up to where it can be divided, and what follows."""

    counted: int = 0
    """Tokens of the part that no longer changes."""
    rest: str = ""
    """The part that can still form tokens with what comes."""

    def grown(self, more: str, counter: TokenCounter) -> Tally:
        """Return the tally of the text with `more` at its end."""
        text = self.rest + more
        place = counter.cut(text) if isinstance(counter, Divisible) else 0
        if not place:
            return Tally(self.counted, text)
        return Tally(self.counted + counter.count(text[:place]), text[place:])

    def total(self, more: str, counter: TokenCounter) -> int:
        """Return the number of tokens of the text with `more` at its end."""
        return self.counted + counter.count(self.rest + more)


@dataclass(frozen=True, slots=True)
class Column:
    """Messages of some roles, joined to one text."""

    roles: tuple[Role, ...]
    """Whose messages."""
    separator: str
    """What stands between two of them."""

    def text(self, messages: Iterable[Message], *, begun: bool) -> str:
        """Return what `messages` add to the text, which has `begun` or not."""
        joined = [m.content for m in messages if m.role in self.roles]
        return self.separator.join([""] * begun + joined) if joined else ""

    def has(self, messages: Conversation) -> bool:
        """Return whether one of `messages` belongs to it."""
        return any(m.role in self.roles for m in messages)


READ: Final = Column(("assistant",), " ")
TYPED: Final = Column(("user",), " ")
EVERY: Final = Column(("system", "user", "assistant"), "\n")


class TokenAmount:
    """Tokens of a conversation, in thousands; less is better.

    Parameters:

    - `scope`: `assistant` (default), all messages of the assistant, those of the prefix included,
      joined by one space, as CollabLLM 0.0.8 counts; `future`, the candidate and the messages after
      it of both roles, joined by line breaks, as the paper's code counts; `all`, every message,
      joined by line breaks. The joined text is encoded as one.
    - `output`: `tokens` (default), those of the scope; `read`, the assistant's, and `typed`, the
      user's, both joined by one space, in the candidate and after it for `future`, else in the
      whole conversation; `turns`, half the number of messages there, rounded down.
    - `unit`: `thousand` (default) tokens or `token`; turns are counted one by one.
    - `tokenizer`: `cl100k` (default); `words`, words and marks; `whitespace`, as verl's recipe
      counts; or a name of the configuration's `evaluator.tokenizers`.

    Parts: `tokens`, `read`, `typed` and `turns`, one by one. Range: at least 0. With `words` and
    `whitespace`, and for turns, also bounded above, because messages are cut at
    `max_message_tokens` words and marks. One word can be any number of tokens of another tokenizer,
    so with those there is no range, and the reward's interval is Student's t.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        given = spec.parameters
        self._tokenizer = str(given.get("tokenizer", "cl100k"))
        names = tools.token_counters.names
        if self._tokenizer not in names:
            what = one_of(self._tokenizer, names)
            raise InvalidInput((Violation("metric.parameters.tokenizer", what),))
        self._counters = tools.token_counters
        self._setup = setup
        scope = str(given.get("scope", "assistant"))
        self._output = str(given.get("output", "tokens"))
        thousands = given.get("unit", "thousand") == "thousand" and self._output != "turns"
        self._per_unit = TOKENS_PER_UNIT if thousands else 1.0
        self._columns = {
            "tokens": READ if scope == "assistant" else EVERY,
            "read": READ,
            "typed": TYPED,
        }
        self._prefix: Conversation = () if scope == "future" else setup.prefix
        self._heads: dict[int, dict[Column, Tally]] = {}

    async def prepare(self) -> None:
        """Load the tokenizer and count what all conversations share."""
        await in_thread(self._prepare)

    @property
    def info(self) -> MetricInfo:
        """Name, version, range and unit."""
        unit = "turns" if self._output == "turns" else "tokens"
        unit = "thousand tokens" if self._per_unit == TOKENS_PER_UNIT else unit
        return MetricInfo("token_amount", "1", self._range, unit=unit)

    async def score(self, subject: Subject) -> Score:
        """Count the tokens of the future and add those of what came before it."""
        item = subject.item
        candidate = item.id.candidate
        size = sum(len(message.content) for message in item.messages)
        if candidate not in self._heads:
            size += len(self._setup.candidates[candidate])
        if size < LONG_TEXT:
            parts = self._parts(candidate, item.messages)
        else:
            parts = await in_thread(self._parts, candidate, item.messages)
        return Score(parts[self._output] / self._per_unit, parts=parts)

    def _prepare(self) -> None:
        self._counter = self._counters.get(self._tokenizer)
        self._start = self._tallies()
        self._range = self._bounds()

    def _tallies(self) -> dict[Column, Tally]:
        columns = set(self._columns.values())
        return {
            column: Tally().grown(column.text(self._prefix, begun=False), self._counter)
            for column in columns
        }

    def _parts(self, candidate: int, future: Conversation) -> dict[str, float]:
        """Return all outputs, in tokens and turns."""
        said = Message("assistant", self._setup.candidates[candidate])
        fixed = (*self._prefix, said)
        if candidate not in self._heads:
            self._heads[candidate] = {
                column: tally.grown(
                    column.text((said,), begun=column.has(self._prefix)), self._counter
                )
                for column, tally in self._start.items()
            }
        heads = self._heads[candidate]
        totals = {
            column: head.total(column.text(future, begun=column.has(fixed)), self._counter)
            for column, head in heads.items()
        }
        parts = {name: float(totals[column]) for name, column in self._columns.items()}
        return {**parts, "turns": float((len(fixed) + len(future)) // 2)}

    def _bounds(self) -> Range | None:
        horizon = self._setup.horizon_messages
        if self._output == "turns":
            fixed = len(self._prefix) + 1
            return Range(float(fixed // 2), float((fixed + horizon) // 2))
        if self._tokenizer not in BOUNDED:
            return None
        column = self._columns[self._output]
        # The user speaks first after a candidate.
        added = {READ: horizon // 2, TYPED: (horizon + 1) // 2, EVERY: horizon}[column]
        candidates = range(len(self._setup.candidates))
        fixed_tokens = [self._parts(candidate, ())[self._output] for candidate in candidates]
        high = max(fixed_tokens) + added * self._setup.max_message_tokens
        return Range(min(fixed_tokens) / self._per_unit, high / self._per_unit)


DEFINITION: Final = Definition(
    "token_amount",
    TokenAmount,
    version="2",
    unit="thousand tokens",
    direction=Direction.LESS,
    parameters={
        "scope": Parameter(
            choices=("assistant", "future", "all"),
            default="assistant",
            description="which messages; default assistant",
        ),
        "output": Parameter(
            choices=("tokens", "read", "typed", "turns"),
            default="tokens",
            description="what is scored",
        ),
        "unit": Parameter(
            choices=("thousand", "token"), default="thousand", description="default thousand"
        ),
        "tokenizer": Parameter(
            default="cl100k", description="cl100k (default), words, whitespace or a configured one"
        ),
    },
    uses=frozenset({"token_counters"}),
)
