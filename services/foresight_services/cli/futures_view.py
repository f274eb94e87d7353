"""The simulated conversations for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from foresight import Future, Rewards
from foresight_services.cli.reward_table import number
from foresight_services.cli.terminal import one_line, printable


def futures_view(candidates: Sequence[str], rewards: Rewards) -> Iterator[Text]:
    """Yield every candidate with its futures, ready to print."""
    for text, reward in zip(candidates, rewards, strict=True):
        yield Text(f"\nCandidate {reward.candidate_index}", style="bold")
        yield _said("assistant", text)
        for future in reward.futures:
            yield _heading(future)
            for message in future.messages:
                yield _said(message.role, message.content)


def _heading(future: Future) -> Text:
    if future.error is not None:
        outcome = f"failed: {one_line(str(future.error))}"
    else:
        scores = ", ".join(f"{one_line(s.name)} {number(s.value)}" for s in future.scores)
        outcome = f"{number(future.objective)} ({scores})"
        outcome += ", the user ended it" if future.termination == "user_ended" else ""
    goal = f", goal: {one_line(future.goal, 100)}" if future.goal else ""
    return Text(f"  Future {future.sample_index}: {outcome}{goal}", style="cyan")


def _said(role: str, content: str) -> Text:
    # Every line is indented, so that no message can pass for a heading or another speaker.
    margin = f"    {one_line(role, 12):<10}"
    lines = printable(content).split("\n")
    return Text("\n".join((margin if i == 0 else " " * 14) + line for i, line in enumerate(lines)))
