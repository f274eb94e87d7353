"""The rewards of one group for programs: the document that `score --json` prints."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from foresight import (
    Artifact,
    CacheUse,
    CandidateReward,
    Decision,
    Future,
    Interval,
    Lead,
    Lift,
    MetricInfo,
    MetricScore,
    OriginCounts,
    Rewards,
    Usage,
    ValueRange,
)
from foresight.errors import ForesightError
from foresight_services.cli.ranking import leaders, ranks

Document = dict[str, Any]


def write_json(document: Mapping[str, Any]) -> None:
    """Write `document` to stdout, in ASCII, so that no text in it can act on a terminal."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def rewards_document(candidates: Sequence[str], rewards: Rewards) -> Document:
    """Return the document for a group."""
    return {
        "request_id": rewards.request_id,
        "profile": rewards.profile,
        "profile_version": rewards.profile_version,
        "objective_range": _range(rewards.objective_range),
        "metrics": [_metric(metric) for metric in rewards.metrics],
        "best": leaders(rewards.values),
        "decision": _decision(rewards.decision),
        "candidates": [
            {"candidate": text, "rank": rank, **_candidate(reward)}
            for text, reward, rank in zip(candidates, rewards, ranks(rewards.values), strict=True)
        ],
        "compared_with": rewards.best,
        "baseline": [
            {"response": reward.response, **_candidate(reward)} for reward in rewards.baseline
        ],
        "usage": _usage(rewards.usage),
        "cache": _cache(rewards.cache),
    }


def interval_document(interval: Interval | None) -> Document | None:
    """Return a confidence interval, null where there is none."""
    if interval is None:
        return None
    return {
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "method": interval.method,
    }


def _decision(decision: Decision | None) -> Document | None:
    if decision is None:
        return None
    return {
        "aim": decision.aim,
        "best": decision.best,
        "ranking": list(decision.ranking),
        "confidence": decision.confidence,
        "method": decision.method,
    }


def _lead(lead: Lead | None) -> Document | None:
    if lead is None:
        return None
    return {
        "difference": lead.difference,
        "stderr": lead.stderr,
        "interval": interval_document(lead.interval),
        "n": lead.n,
    }


def _lift(lift: Lift | None) -> Document | None:
    if lift is None:
        return None
    return {
        "value": lift.value,
        "stderr": lift.stderr,
        "interval": interval_document(lift.interval),
        "baseline": lift.baseline,
        "responses": lift.responses,
    }


def _cache(use: CacheUse) -> Document:
    return {"futures": _origins(use.futures), "scores": _origins(use.scores)}


def _origins(counts: OriginCounts) -> Document:
    return {"computed": counts.computed, "found": counts.found, "shared": counts.shared}


def _candidate(reward: CandidateReward) -> Document:
    return {
        "index": reward.candidate_index,
        "value": reward.value,
        "stderr": reward.stderr,
        "interval": interval_document(reward.interval),
        "status": reward.status,
        "error": _error(reward.error),
        "n_ok": reward.n_ok,
        "n_requested": reward.n_requested,
        "behind_best": _lead(reward.behind_best),
        "lift": _lift(reward.lift),
        "metrics": {
            name: {"mean": metric.mean, "n_ok": metric.n_ok, "n_failed": metric.n_failed}
            for name, metric in reward.metrics.items()
        },
        "reward_id": reward.reward_id,
        "usage": _usage(reward.usage),
        "futures": [_future(future) for future in reward.futures],
    }


def _future(future: Future) -> Document:
    return {
        "sample_index": future.sample_index,
        "objective": future.objective,
        "error": _error(future.error),
        "scores": [_score(score) for score in future.scores],
        "termination": future.termination,
        "persona": future.persona,
        "policy": (
            {"name": future.policy.name, "version": future.policy.version}
            if future.policy
            else None
        ),
        "goal": future.goal,
        "messages": [{"role": m.role, "content": m.content} for m in future.messages],
        "artifacts": [_artifact(artifact) for artifact in future.artifacts],
    }


def _metric(metric: MetricInfo) -> Document:
    return {
        "name": metric.name,
        "metric": metric.metric or metric.name,
        "version": metric.version,
        "range": _range(metric.range),
        "unit": metric.unit,
        "direction": metric.direction,
        "identity": metric.identity,
    }


def _score(score: MetricScore) -> Document:
    return {
        "name": score.name,
        "value": score.value,
        "error": _error(score.error),
        "spread": _finite(score.spread),
        "parts": {name: _finite(part) for name, part in score.parts.items()},
        "verdicts": [
            {"score": _finite(said.score), "rationale": said.rationale, "raw": said.raw}
            for said in score.verdicts
        ],
    }


def _finite(number: float | None) -> float | None:
    """Return the number, or null where JSON has none for it: these come from metrics unchecked."""
    return number if number is not None and math.isfinite(number) else None


def _artifact(artifact: Artifact) -> Document:
    return {
        "name": artifact.name,
        "requirement": artifact.requirement,
        "text": artifact.text,
        "error": _error(artifact.error),
    }


def _error(error: ForesightError | None) -> Document | None:
    if error is None:
        return None
    return {
        "reason": error.reason,
        "code": error.code.name,
        "message": error.message,
        "metadata": dict(error.metadata),
    }


def _range(values: ValueRange | None) -> Document | None:
    return None if values is None else {"min": values.min, "max": values.max}


def _usage(usage: Usage) -> Document:
    return {
        "messages": usage.messages,
        "seconds": usage.seconds,
        "models": {
            role: {
                "calls": model.calls,
                "prompt_tokens": model.prompt_tokens,
                "completion_tokens": model.completion_tokens,
                "cached_tokens": model.cached_tokens,
                "retries": model.retries,
                "hedges": model.hedges,
                "dollars": model.dollars,
            }
            for role, model in usage.models.items()
        },
        "tokens": usage.tokens,
        "dollars": usage.dollars,
    }
