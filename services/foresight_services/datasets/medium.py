"""Medium articles: writing a given text together.

Columns `title`, `text`, `timestamp`, and `url` where it is there. As in CollabLLM, the newest 2.5 %
of all articles with a timestamp are taken, 0.5 % of all for evaluation and 2 % for training, and of
these the articles of at most 512 tokens are kept. Two passes: one finds the newest, which takes a
few dozen bytes for each article, the other makes tasks of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from foresight_services.core.task import Task
from foresight_services.datasets.options import Options
from foresight_services.datasets.records import Record, Records, misplaced
from foresight_services.datasets.splits import draw
from foresight_services.datasets.task_row import Split, TaskRow, digest, task_row

NAME: Final = "medium"
REPOSITORY: Final = "Kamaljp/medium_articles"
PRESET: Final = "document_editing"
MAX_TOKENS: Final = 512
"""Longest article."""
TRAIN_PER_MILLE: Final = 20
EVAL_PER_MILLE: Final = 5
"""Shares of all articles that have a timestamp, in thousandths."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def medium(records: Records, options: Options) -> Iterator[TaskRow]:
    """Return the newest short articles.

    Raises:
        InvalidInput: without `count_tokens`.
    """
    if options.count_tokens is None:
        raise misplaced("count_tokens", f"is needed: {NAME} keeps articles by their cl100k tokens")
    return _articles(records, options, options.count_tokens)


def _articles(
    records: Records, options: Options, count_tokens: Callable[[str], int]
) -> Iterator[TaskRow]:
    splits = _newest(records, options.seed)
    for index, record in enumerate(records()):
        split = splits.get(index)
        # What was scraped lacks a title or a text here and there, and then there is no task.
        if split is None or not (_has_words(record, "title") and _has_words(record, "text")):
            continue
        tokens = count_tokens(record.text("text"))
        if tokens <= MAX_TOKENS:
            yield _row(record, options, split, tokens)


def _row(record: Record, options: Options, split: Split, tokens: int) -> TaskRow:
    title, text = record.text("title"), record.text("text")
    time = _time(record)
    metadata = {
        "title": title,
        "tokens": str(tokens),
        "timestamp": time.isoformat() if time else "",
        "url": record.optional_text("url"),
    }
    goal = (
        f"Have an article of fewer than 500 words written, titled: {title}\n\n"
        "It should say what the following text says, and be written like it:\n\n"
        f"{text}"
    )
    return task_row(
        record,
        dataset=NAME,
        content=(title, text),
        split=split,
        task=Task(options.preset_or(PRESET), goal=goal, reference=text, metadata=metadata),
    )


def _newest(records: Records, seed: int) -> dict[int, Split]:
    """Return the split of the newest articles by the indices of their rows."""
    articles: list[tuple[float, str, int]] = []
    for index, record in enumerate(records()):
        time = _time(record)
        if time is not None:
            name = digest(_words(record, "title"), _words(record, "text"))
            articles.append(((time - _EPOCH).total_seconds(), name, index))
    held_out = len(articles) * EVAL_PER_MILLE // 1000
    taken = held_out + len(articles) * TRAIN_PER_MILLE // 1000
    articles.sort(reverse=True)
    newest = sorted(articles[:taken], key=lambda article: (draw(seed, article[1]), article))
    return {
        index: Split.EVAL if rank < held_out else Split.TRAIN
        for rank, (_, _, index) in enumerate(newest)
    }


def _time(record: Record) -> datetime | None:
    """Return when the article appeared; None where that is not known."""
    found = record.value("timestamp")
    if found is None or found == "":
        return None
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError as error:
            raise record.wrong("timestamp", "must be a time as in ISO 8601") from error
    if not isinstance(found, datetime):
        raise record.wrong("timestamp", "must be a time as in ISO 8601")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _words(record: Record, column: str) -> str:
    return record.text(column, blank=True)


def _has_words(record: Record, column: str) -> bool:
    return bool(_words(record, column).strip())
