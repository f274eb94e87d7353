"""Whether the assistant reached the user's goal."""

from __future__ import annotations

import json
from typing import ClassVar

from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.future import EvaluationItem, EvaluationSetup, MetricInfo
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import ChatModel, ChatRequest
from foresight_services.core.usage import Ledger

MAX_VERDICT_TOKENS = 1024


class Success:
    """Degree, from 0 to 1, to which the conversation reached the goal; more is better.

    Inputs: the complete conversation and the goal of its future, shown to the judge model. In a
    builtin world the judge is a rule: 1 for the thing guessed (20 Questions), the fraction of the
    needs that matter met by the order (groceries).
    """

    name: ClassVar[str] = "success"

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, judge: ChatModel) -> None:
        del spec
        self._setup = setup
        self._judge = judge

    @property
    def info(self) -> MetricInfo:
        """Name, version and range."""
        return MetricInfo(self.name, "1", Range(0.0, 1.0), judge_calls=1)

    async def score(self, item: EvaluationItem, ledger: Ledger) -> float:
        """Ask the judge; a verdict that is not a number fails the score."""
        reply = await self._judge.complete(
            ChatRequest(
                role="judge",
                task=self._setup.task.with_goal(item.goal),
                conversation=self._setup.conversation(item),
                seed=0,
                max_tokens=MAX_VERDICT_TOKENS,
                ledger=ledger,
            )
        )
        return parse_verdict(self.name, reply.text)


def parse_verdict(metric: str, text: str) -> float:
    """Return the number that the verdict, a JSON object, gives for `metric`."""
    try:
        # Of unlimited size, an integer may be none that a float can hold; this makes it infinite.
        verdict = json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        verdict = None
    score = verdict.get(metric) if isinstance(verdict, dict) else None
    if not isinstance(score, float):
        raise Upstream(
            Reason.METRIC_FAILED,
            f"{metric}: the judge's verdict has no number called {metric!r}",
            metadata={"metric": metric},
        )
    return score
