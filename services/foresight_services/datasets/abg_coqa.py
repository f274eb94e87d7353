"""Abg-CoQA: questions about a story, some of which have more than one reading.

Columns `story`, `history_turns`, `target_turn`, `ambiguity` and, for ambiguous questions,
`clarification_turn`, with a second annotator's in `clarification_turn_2`; `id` and `source` where
they are there. Parts `train`, `val` and `test`.

The user of an ambiguous question means its first reading, so that there is something to answer when
the assistant asks; the reference has all readings.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from foresight_services.core.suggest import one_of
from foresight_services.core.task import Task
from foresight_services.datasets.options import Options
from foresight_services.datasets.records import Record, Records
from foresight_services.datasets.splits import drawn_split, published_split
from foresight_services.datasets.task_row import TaskRow, task_row

NAME: Final = "abg-coqa"
REPOSITORY: Final = "DeepPavlov/coqa_abg"
PRESET: Final = "ambiguous_qa"
EVAL_SHARE: Final = 0.1
"""Share of the stories that is held out where no part is named."""

_AMBIGUOUS: Final = "ambiguous"
_LABELS: Final = (_AMBIGUOUS, "non_ambiguous")
_ANSWERS: Final = ("org_ans", "org_ans_2", "org_ans_3")
"""What annotators answered to one reading."""


def abg_coqa(records: Records, options: Options) -> Iterator[TaskRow]:
    """Yield the questions."""
    for record in records():
        yield _row(record, options)


def _row(record: Record, options: Options) -> TaskRow:
    label = record.text("ambiguity")
    if label not in _LABELS:
        raise record.wrong("ambiguity", one_of(label, _LABELS))
    target, history = record.record("target_turn"), _history(record)
    story, question, answer = record.text("story"), target.text("question"), target.text("answer")
    goal = _goal(story, history, question)
    content = [story, *chain.from_iterable(history), question, answer, label]
    reference, metadata = answer, {"ambiguity": label, "answer": answer}
    if label == _AMBIGUOUS:
        asked, readings = _readings(record.record("clarification_turn"))
        meant = readings[0][0]
        goal += (
            "\n\nWhat the question means, to be told only if the assistant asks:"
            f' to "{asked}" the answer is "{meant}"'
        )
        reference = _ambiguous_reference(asked, readings)
        content += [asked, *(text for meant, answers in readings for text in (meant, *answers))]
        metadata |= {"clarifying_question": asked, "meaning": meant}
        if second := record.optional_record("clarification_turn_2"):
            metadata["clarifying_question_2"] = second.text("question")
    for column, key in (("id", "source_id"), ("source", "source")):
        metadata[key] = record.optional_text(column)
    return task_row(
        record,
        dataset=NAME,
        content=content,
        # Questions about one story stay together.
        split=published_split(record) or drawn_split(options.seed, story, EVAL_SHARE),
        task=Task(options.preset_or(PRESET), goal=goal, reference=reference, metadata=metadata),
    )


def _goal(story: str, history: list[tuple[str, str]], question: str) -> str:
    sections = ["Get one question about a story answered.", f"The story:\n{story}"]
    if history:
        before = "\n".join(f"Q: {asked}\nA: {answered}" for asked, answered in history)
        sections.append(f"What was asked and answered before:\n{before}")
    sections.append(f"The question, to be asked in these words: {question}")
    return "\n\n".join(sections)


def _history(record: Record) -> list[tuple[str, str]]:
    turns = sorted(record.records("history_turns"), key=_turn_number)
    return [(t.text("question", blank=True), t.text("answer", blank=True)) for t in turns]


def _turn_number(turn: Record) -> int:
    found = turn.value("turn_id")
    if not isinstance(found, int):
        raise turn.wrong("turn_id", "must be a whole number")
    return found


def _readings(clarification: Record) -> tuple[str, list[tuple[str, list[str]]]]:
    """Return what to ask, and all answers to that with the answers that follow from them."""
    readings = []
    for answer in clarification.records("answers"):
        known = [answer.text(_ANSWERS[0]), *map(answer.optional_text, _ANSWERS[1:])]
        right = list(dict.fromkeys(text for text in known if text.strip()))
        readings.append((answer.text("clr_ans"), right))
    if not readings:
        raise clarification.wrong("answers", "is empty; an ambiguous question has readings")
    return clarification.text("question"), readings


def _ambiguous_reference(asked: str, readings: list[tuple[str, list[str]]]) -> str:
    lines = [f"The question is ambiguous. A good reply first asks, for example: {asked}"]
    for meant, answers in readings:
        lines.append(f'After "{meant}" the right answer is: {" / ".join(answers)}')
    return "\n".join(lines)
