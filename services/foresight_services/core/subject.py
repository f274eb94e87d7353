"""One conversation while it is scored: what its metrics share.

The conversation is put together once, and every artifact is extracted once for all metrics that
want it, the first of them starting the work and the others waiting for it.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from foresight_services.core.conversation import Conversation
from foresight_services.core.errors import Failure, failure_from
from foresight_services.core.future import EvaluationItem, EvaluationSetup, Extracted, Wanted
from foresight_services.core.ports import Extractor
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger


class Subject:
    """A conversation to score. Leaving it ends extractions that still run."""

    def __init__(
        self,
        setup: EvaluationSetup,
        item: EvaluationItem,
        *,
        ledger: Ledger,
        extractor: Extractor,
        deadline: float | None = None,
    ) -> None:
        self.setup = setup
        """What all conversations of the evaluation share."""
        self.item = item
        """The future that is scored."""
        self.task: Task = setup.task.with_goal(item.goal)
        """The task, with what the user wanted in this future."""
        self.conversation: Conversation = setup.conversation(item)
        """Prefix, candidate, future."""
        self.ledger = ledger
        """Where model calls are written down."""
        self.deadline = deadline
        """When the caller stops listening, in the time of the clock."""
        self._extractor = extractor
        self._extractions: dict[Wanted, asyncio.Task[str]] = {}
        self._left = False

    async def __aenter__(self) -> Subject:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True
        extractions = tuple(self._extractions.values())
        for extraction in extractions:
            extraction.cancel()
        # Also takes the errors that nobody waited for, which the loop would complain of.
        await asyncio.gather(*extractions, return_exceptions=True)

    async def artifact(self, wanted: Wanted) -> str:
        """Return the artifact's text, extracted once however many metrics ask.

        Raises:
            Upstream: EXTRACTION_FAILED, or why the model could not be asked.
        """
        if self._left:
            raise RuntimeError("an artifact was asked for after the scoring")
        if wanted not in self._extractions:
            self._extractions[wanted] = asyncio.create_task(self._extractor.extract(wanted, self))
        extraction = self._extractions[wanted]
        # Not awaited itself, because one metric's end must not take the artifact from the others.
        await asyncio.wait((extraction,))
        return extraction.result()

    @property
    def extracted(self) -> tuple[Extracted, ...]:
        """What became of the extractions that have ended."""
        return tuple(
            Extracted(wanted, _outcome(extraction))
            for wanted, extraction in self._extractions.items()
            if extraction.done() and not extraction.cancelled()
        )


def _outcome(extraction: asyncio.Task[str]) -> str | Failure:
    error = extraction.exception()
    if error is None:
        return extraction.result()
    if not isinstance(error, Exception):
        raise error
    return failure_from(error)
