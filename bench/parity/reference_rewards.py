"""MR of every case by CollabLLM 0.0.8's own `multiturn_aware_reward`.

Its wheel simulates, extracts and sums up; the metrics are not in it, so they are written here to
the semantics of its repository's `examples/metrics`, asking judges with prompts of our own. `nltk`
computes BLEU, `tiktoken` counts and `bigcodebench` runs code, as there.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import litellm
import tiktoken
from collabllm.metric import BaseMetric, SingleTurnOrChatMetric
from collabllm.reward import multiturn_aware_reward
from collabllm.utils.extract_json_reliable import extract_json
from nltk.translate.bleu_score import sentence_bleu

from bench.parity.cases import Case, Said, read_cases
from bench.parity.code_check import passes
from bench.parity.outcome import Outcome, Sample, write_outcomes

Messages = Sequence[Mapping[str, str]]

_PROMPTS: Final = Path(__file__).parent / "prompts"
_REQUESTS_AT_ONCE: Final = 6


class _Judged(BaseMetric):  # type: ignore[misc]
    """A judge's number, as it gave it."""

    name = ""

    def __init__(self, **llm: Any) -> None:
        self._llm = {"temperature": 0.0, **llm}
        self._prompt = (_PROMPTS / f"{self.name}.txt").read_text("utf-8").rstrip("\n")

    def ask(self, **fields: str) -> Any:
        """Return what the judge gives for the metric."""
        asked = [{"role": "user", "content": self._prompt.format(**fields)}]
        reply = litellm.completion(**self._llm, messages=asked).choices[0].message.content
        return extract_json(reply)[self.name]


@SingleTurnOrChatMetric.register_metric("accuracy")
class _Accuracy(_Judged):
    name = "accuracy"

    def score(
        self,
        prompt: str,
        groundtruth: str,
        completion: str | None,
        messages: Messages,
        metadata: Mapping[str, str],
    ) -> Any:
        answer = json.dumps(messages) if completion is None else completion
        return self.ask(
            goal=prompt.strip(), reference=groundtruth.strip(), completion=answer.strip()
        )


@SingleTurnOrChatMetric.register_metric("interactivity")
class _Interactivity(_Judged):
    name = "interactivity"

    def score(
        self,
        prompt: str,
        groundtruth: str,
        completion: str | None,
        messages: Messages,
        metadata: Mapping[str, str],
    ) -> Any:
        lines = (f"{m['role'].capitalize()}: {m['content']}" for m in messages)
        return self.ask(conversation="\n".join(lines))


@SingleTurnOrChatMetric.register_metric("token_amount")
class _TokenAmount(BaseMetric):  # type: ignore[misc]
    def score(
        self,
        prompt: str,
        groundtruth: str,
        completion: str | None,
        messages: Messages,
        metadata: Mapping[str, str],
    ) -> float:
        return token_amount([m["content"] for m in messages if m["role"] == "assistant"])


@SingleTurnOrChatMetric.register_metric("bleu")
class _Bleu(BaseMetric):  # type: ignore[misc]
    def score(
        self,
        prompt: str,
        groundtruth: str,
        completion: str,
        messages: Messages,
        metadata: Mapping[str, str],
    ) -> float:
        return bleu(groundtruth, completion)


def _pass_rate(checkers: Executor) -> type[BaseMetric]:
    """Return the metric whose code runs in `checkers`."""

    class PassRate(BaseMetric):  # type: ignore[misc]
        def score(
            self,
            prompt: str,
            groundtruth: str,
            completion: str,
            messages: Messages,
            metadata: Mapping[str, str],
        ) -> float:
            asked = (completion, metadata["test"], metadata["entry_point"])
            return checkers.submit(passes, *asked).result()

    return PassRate


def bleu(reference: str, text: str) -> float:
    """Return the BLEU of `text` beside `reference`, by character."""
    return float(sentence_bleu([reference], text))


def token_amount(contents: Sequence[str]) -> float:
    """Return the thousands of tokens in the assistant's messages."""
    encoding = tiktoken.get_encoding("cl100k_base")
    return len(encoding.encode(" ".join(contents), disallowed_special=())) / 1000.0


def weighted_sum(scores: Sequence[float], weights: Sequence[float]) -> float:
    """Return MR of one conversation that no one continues, its metrics giving `scores`."""

    names = [f"given_{index}" for index in range(len(scores))]
    for name, score in zip(names, scores, strict=True):
        given = type(name, (BaseMetric,), {"score": lambda self, *_, score=score: score})
        SingleTurnOrChatMetric.register_metric(name)(given)
    rewards = multiturn_aware_reward(
        task_desc="none",
        single_turn_prompt="none",
        single_turn_completion="none",
        metadata={},
        metric_names=names,
        metric_weights=list(weights),
        chat_history=[],
        assistant_generation_kwargs={"model": "none"},
        user_generation_kwargs={"model": "none"},
        verbose=False,
    )
    return float(rewards["MR"][0])


def score_all(cases: Path, api_base: str, outcomes: Path, checkers: Executor) -> None:
    """Score every candidate of every case, the code in `checkers`."""
    SingleTurnOrChatMetric.register_metric("pass_rate")(_pass_rate(checkers))
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        running = [
            pool.submit(_outcome, case, candidate, api_base)
            for case in read_cases(cases)
            for candidate in range(len(case.candidates))
        ]
        write_outcomes((one.result() for one in running), outcomes)


def _outcome(case: Case, candidate: int, api_base: str) -> Outcome:
    said = [*case.prefix, Said("assistant", case.candidates[candidate])]
    model = {"api_base": api_base, "api_key": "none"}
    rewards, transcripts = multiturn_aware_reward(
        task_desc=case.description,
        single_turn_prompt=case.goal,
        single_turn_completion=case.reference,
        metadata=dict(case.metadata),
        metric_names=[metric.signature for metric in case.metrics],
        metric_weights=[metric.weight for metric in case.metrics],
        reward_generation_kwargs={"model": "openai/judge", **model},
        chat_history=[{"role": m.role, "content": m.content} for m in said],
        assistant_generation_kwargs={"model": "openai/policy", **model},
        user_generation_kwargs={"model": "openai/user", **model},
        num_samples=case.samples,
        max_new_turns=case.horizon,
        add_system_prompt_ratio=case.system_share,
        return_details=True,
        verbose=False,
    )
    samples = tuple(
        Sample(
            transcript=tuple(Said(m["role"], m["content"]) for m in transcript),
            scores={m.metric: float(rewards[m.signature][index]) for m in case.metrics},
            objective=float(rewards["MR"][index]),
        )
        for index, transcript in enumerate(transcripts)
    )
    return Outcome(case.number, candidate, samples, statistics.mean(rewards["MR"]))
