"""The results of one caller's group on their way into the store.

Each is kept when it is known; the end of the group adds what only that tells, and keeps the whole
answer if it is complete.
"""

from __future__ import annotations

from dataclasses import replace

from foresight_services.core.idempotency import Run, new_group
from foresight_services.core.kept_answers import answer_key, fingerprint_of, identities_of
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import CandidateResult, GroupSummary, Reward
from foresight_services.core.reward_store import AnswerRecord, GroupRecord, RewardStore


class GroupRecords:
    """The results of one caller's group on their way into the store."""

    def __init__(self, store: RewardStore, group: GroupRecord) -> None:
        self._store = store
        self._group = group
        self._own = new_group()
        self._kept: set[str] = set()
        self._results: list[CandidateResult] = []

    def add(self, result: CandidateResult, run: Run) -> CandidateResult:
        """Keep `result`, found by `run`, and return it with its id.

        All who are attached to a run by its name have one answer: a candidate's first complete
        result is everybody's. What a deadline cut short is its caller's alone.
        """
        one_answer = _given(run) and _complete(result)
        found = run.results.get(result.index) if one_answer else None
        if found is None:
            name = run.group if one_answer else self._own
            found = replace(result, reward_id=f"{name}-{result.index}")
            if name not in self._kept:
                self._kept.add(name)
                self._store.keep_group(name, self._group)
            self._store.keep_result(name, found)
            if one_answer:
                run.results[found.index] = found
        self._results.append(found)
        return found

    def end(self, summary: GroupSummary, run: Run, request: RewardRequest) -> None:
        """Keep the answer, if it is complete: under its caller's name for it, and for its content.

        Args:
            summary: what holds for the group.
            run: who made it.
            request: what was asked, its defaults filled in.
        """
        if any(lead is not None for lead in summary.leads):
            for name in self._kept:
                self._store.keep_leads(name, summary)
        if not all(map(_complete, self._results)):
            return
        if run.name is not None and _given(run):
            answer = AnswerRecord(run.name.content, run.group, len(self._results), summary)
            self._store.keep_answer(run.name, answer)
        assert run.played is not None, "a run with results is open"
        identities = identities_of(summary.metrics)
        every = (*self._results, *summary.baseline)
        key = answer_key(request, run.played, fingerprint_of(every), identities)
        if key is not None:
            self._store.keep_whole(key, self._results, summary)


def _given(run: Run) -> bool:
    return run.name is not None and run.name.given


def _complete(result: CandidateResult) -> bool:
    return isinstance(result.outcome, Reward) and result.outcome.complete and result.whole
