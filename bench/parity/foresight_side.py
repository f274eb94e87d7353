"""Foresight's side: its three services in one process, asked over gRPC.

    python -m bench.parity.foresight_side CASES API_BASE OUTCOMES PROMPTS

It is given the reference's prompts from PROMPTS, the folder where its package is installed; the
names of their fields alone are translated, and the transcripts set in the reference's styles.
"""

from __future__ import annotations

import ast
import asyncio
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from bench.parity.cases import Case, Said, Weighed, read_cases
from bench.parity.outcome import Outcome, Sample, write_outcomes
from foresight import AsyncClient, CandidateReward
from foresight_services.cli.embedded import embedded_client
from foresight_services.config import Config, parse_config

_OWN_PROMPTS: Final = Path(__file__).parent / "prompts"
_REQUESTS_AT_ONCE: Final = 16
_MOST_SECONDS: Final = 600.0
_REQUIREMENT: Final = "extraction_requirement"
_BEFORE_REQUIREMENT: Final = re.compile(r'= ("[^"]+") if metadata and "extraction_requirement"')
"""Where the reference's code has the line that it puts before a requirement."""

_TRANSLATED: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "user_task": (
        "user_simulator.txt",
        {
            "task_desc": "description",
            "single_turn_prompt": "goal",
            "chat_history": "conversation",
            "terminal_signal": "signal",
        },
    ),
    "extract_task": (
        "extract_multiturn_completion.txt",
        {
            "extract_type": "artifact",
            "chat_history": "conversation",
            "extraction_requirement": "requirement",
        },
    ),
    "policy_system": ("system_prompt.txt", {}),
}
_EMPTY: Final = ("user_system", "extract_system", "accuracy_system", "interactivity_system")


def main(cases: str, api_base: str, outcomes: str, prompts: str) -> None:
    """Score every candidate of every case."""
    with tempfile.TemporaryDirectory(prefix="parity-prompts-") as folder:
        config = _config(api_base, Path(prompts), Path(folder))
        worded = [_as_worded(case, Path(prompts)) for case in read_cases(Path(cases))]
        scored = asyncio.run(_score_all(worded, config))
    write_outcomes(scored, Path(outcomes))


def _config(api_base: str, prompts: Path, folder: Path) -> Config:
    """Return the configuration; the prompts that it names are written to `folder`."""
    texts = dict.fromkeys(_EMPTY, "")
    for name, (file, fields) in _TRANSLATED.items():
        # Of a prompt's file the line break at its end does not count; all of the reference's does.
        texts[name] = _translated((prompts / file).read_text("utf-8"), fields) + "\n"
    for metric in ("accuracy", "interactivity"):
        texts[f"{metric}_task"] = (_OWN_PROMPTS / f"{metric}.txt").read_text("utf-8")
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, "utf-8")
    model = {"backend": "openai", "base_url": api_base, "structured": False}
    document = {
        "models": {role: {**model, "model": role} for role in ("user", "policy", "judge")},
        "simulator": {"transcript": "markdown"},
        "evaluator": {
            "transcripts": {"extract": "markdown", "accuracy": "json", "interactivity": "plain"}
        },
        "prompts": {name: str(folder / f"{name}.txt") for name in texts},
    }
    return parse_config(yaml.safe_dump(document))


def _translated(text: str, fields: Mapping[str, str]) -> str:
    for old, new in fields.items():
        text = text.replace(f"{{{old}}}", f"{{{new}}}")
    return text


def _as_worded(case: Case, prompts: Path) -> Case:
    """Return `case` with the requirement of its extraction as the reference's prompt shows it."""
    if _REQUIREMENT not in case.metadata:
        return case
    found = _BEFORE_REQUIREMENT.search((prompts.parent / "metric.py").read_text("utf-8"))
    if found is None:
        raise ValueError("the reference's code has another wording of requirements")
    before = ast.literal_eval(found[1])
    required = {_REQUIREMENT: before + case.metadata[_REQUIREMENT]}
    return replace(case, metadata={**case.metadata, **required})


async def _score_all(cases: Sequence[Case], config: Config) -> list[Outcome]:
    places = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def score(case: Case, client: AsyncClient) -> list[Outcome]:
        async with places:
            return await _score(case, client)

    async with embedded_client(config) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(score(case, client)) for case in cases]
    return [outcome for task in tasks for outcome in task.result()]


async def _score(case: Case, client: AsyncClient) -> list[Outcome]:
    rewards = await client.compute_rewards(
        task={
            "description": case.description,
            "goal": case.goal,
            "reference": case.reference,
            "metadata": case.metadata,
        },
        prefix=[{"role": message.role, "content": message.content} for message in case.prefix],
        candidates=case.candidates,
        objective={"profile": "release", "metrics": [_metric(m) for m in case.metrics]},
        simulation={
            "horizon_messages": case.horizon,
            "samples": {"min": case.samples, "max": case.samples},
            "seed": case.number,
            "system_prompt_share": case.system_share,
        },
        include_futures=True,
        timeout=_MOST_SECONDS,
    )
    return [_outcome(case, reward) for reward in rewards]


def _metric(metric: Weighed) -> dict[str, object]:
    parameters = {"tokenizer": "cl100k"} if metric.metric == "token_amount" else {}
    return {
        "name": metric.metric,
        "weight": metric.weight,
        "artifact": metric.artifact,
        "parameters": parameters,
    }


def _outcome(case: Case, reward: CandidateReward) -> Outcome:
    if reward.value is None or reward.status != "complete":
        reasons = {str(s.error) for f in reward.futures for s in f.scores if s.error is not None}
        raise RuntimeError(f"request {case.number} failed: {reward.error}, {sorted(reasons)}")
    said = [m for m in case.prefix if m.role != "system"]
    said.append(Said("assistant", case.candidates[reward.candidate_index]))
    samples = []
    for future in reward.futures:
        assert future.objective is not None
        samples.append(
            Sample(
                transcript=(*said, *(Said(m.role, m.content) for m in future.messages)),
                scores={s.name: s.value for s in future.scores if s.value is not None},
                objective=future.objective,
            )
        )
    return Outcome(case.number, reward.candidate_index, tuple(samples), reward.value)


if __name__ == "__main__":
    main(*sys.argv[1:])
