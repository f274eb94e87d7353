"""Answers that were given, kept for the audit, for retries, and to be scored anew.

An id names what one computation found for one candidate: 128 random bits and the candidate's
position. Random, because an id of the content would name the answers of yesterday's and of today's
judge alike. A group is kept once, each of its results beside it, so that a reward is read in one
round trip. What is kept under a `request_id` points to a group all of whose results are complete.

Keeping never delays an answer and never fails it: entries wait in line for one writer, are found
there meanwhile, and are dropped and counted where too many wait.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from foresight_services.core.cache import Cache, CacheKey
from foresight_services.core.cache_use import CacheMode
from foresight_services.core.cachekey import digest
from foresight_services.core.errors import NotFound, Reason
from foresight_services.core.estimator import Estimate
from foresight_services.core.idempotency import RequestName
from foresight_services.core.kept_answers import (
    AnswerCodec,
    KeptAnswer,
    as_found,
)
from foresight_services.core.request import RewardQuery
from foresight_services.core.result import CandidateResult, GroupSummary

REWARDS: Final = "reward"
"""Namespace of kept rewards."""

KEEPING: Final = {CacheMode.DEFAULT, CacheMode.REFRESH}
"""Modes in which a request leaves anything behind."""

MOST_WAITING: Final = 4096
"""Entries that may wait to be written; one is a candidate's result, or what its group shares."""

_log: Final = logging.getLogger(__name__)

_ID: Final = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """What the results of one group share."""

    request: RewardQuery
    """The request, its defaults filled in."""
    summary: GroupSummary
    """Profile, metrics with their versions, range; its usage and cache are not meant."""


@dataclass(frozen=True, slots=True)
class RewardRecord:
    """One candidate's result and what it rests on."""

    group: GroupRecord
    """The request that was answered, and how it was read."""
    result: CandidateResult
    """The result, its futures with goals, messages, verdicts and artifacts."""


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """What a `request_id` was answered with."""

    content: bytes
    """Digest of the request."""
    group: str
    """Name of the group, the first part of its rewards' ids."""
    results: int
    """How many candidates it has."""
    summary: GroupSummary
    """What holds for the group as a whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, as it was given."""

    results: tuple[CandidateResult, ...]
    """One result for every candidate, in order."""
    summary: GroupSummary
    """What holds for the group as a whole."""


class RecordCodec(AnswerCodec, Protocol):
    """Records as bytes. What cannot be read is None."""

    def encode_group(self, group: GroupRecord) -> bytes:
        """Return `group` as it is kept."""
        ...

    def decode_group(self, stored: bytes) -> GroupRecord | None:
        """Return the group."""
        ...

    def encode_result(self, result: CandidateResult) -> bytes:
        """Return `result` as it is kept, texts included."""
        ...

    def decode_result(self, stored: bytes) -> CandidateResult | None:
        """Return the result."""
        ...

    def encode_leads(self, summary: GroupSummary) -> bytes:
        """Return by how much the best candidate of a group leads the others."""
        ...

    def decode_lead(self, stored: bytes, candidate: int) -> Estimate | None:
        """Return by how much it leads one; None where nothing tells."""
        ...

    def encode_answer(self, answer: AnswerRecord) -> bytes:
        """Return `answer` as it is kept."""
        ...

    def decode_answer(self, stored: bytes) -> AnswerRecord | None:
        """Return the answer."""
        ...


class RewardStore:
    """Keeps rewards in a cache. Close it with `close` before the cache."""

    def __init__(
        self,
        cache: Cache,
        codec: RecordCodec,
        *,
        dropped: Callable[[int], None],
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """Keep what comes in `cache`.

        Args:
            cache: where; it counts its own failures.
            codec: how.
            dropped: told how many entries were given up because too many wait.
            most_waiting: bound on those that wait.
        """
        self._cache = cache
        self._codec = codec
        self._dropped = dropped
        self._most_waiting = most_waiting
        self._waiting: dict[CacheKey, Callable[[], bytes]] = {}
        self._writer: asyncio.Task[None] | None = None

    def keep_group(self, name: str, group: GroupRecord) -> None:
        """Keep what the results of the group called `name` share."""
        self._keep(_group_key(name), lambda: self._codec.encode_group(group))

    def keep_result(self, name: str, result: CandidateResult) -> None:
        """Keep one result of the group called `name`."""
        key = _result_key(name, result.index)
        self._keep(key, lambda: self._codec.encode_result(result))

    def keep_leads(self, name: str, summary: GroupSummary) -> None:
        """Keep what the end of the group called `name` tells of its results."""
        self._keep(_leads_key(name), lambda: self._codec.encode_leads(summary))

    def keep_answer(self, request: RequestName, answer: AnswerRecord) -> None:
        """Keep what `request` was answered with."""
        self._keep(_answer_key(request), lambda: self._codec.encode_answer(answer))

    async def get(self, reward_id: str) -> RewardRecord:
        """Return what is kept under `reward_id`.

        Raises:
            NotFound: UNKNOWN_REWARD where nothing is, or no longer.
        """
        named = _ID.fullmatch(reward_id)
        if named is not None:
            name, index = named[1], int(named[2])
            keys = (_group_key(name), _result_key(name, index), _leads_key(name))
            shared, own, leads = await self._read(*keys)
            group = None if shared is None else self._codec.decode_group(shared)
            result = None if own is None else self._codec.decode_result(own)
            if group is not None and result is not None:
                if leads is not None and result.behind_best is None:
                    behind = self._codec.decode_lead(leads, index)
                    result = replace(result, behind_best=behind)
                return RewardRecord(group, result)
        raise NotFound(
            Reason.UNKNOWN_REWARD,
            "no reward is kept under this id; it may have been, and its time may be over",
            metadata={"reward_id": reward_id[:64]},
        )

    async def answer(self, request: RequestName) -> Answer | None:
        """Return what `request` was answered with; None where no complete answer is kept.

        Raises:
            InvalidInput: where another request was answered under that name.
        """
        stored, named = await self._read(_answer_key(request), _named_key(request))
        if named is not None and len(named) == len(request.content):
            request.check(named)
        record = None if stored is None else self._codec.decode_answer(stored)
        if record is None:
            return None
        request.check(record.content)
        keys = [_result_key(record.group, index) for index in range(record.results)]
        results = []
        for entry in await self._read(*keys):
            result = None if entry is None else self._codec.decode_result(entry)
            if result is None:
                return None
            results.append(result)
        return Answer(tuple(results), record.summary)

    def keep_whole(
        self, key: CacheKey, results: Sequence[CandidateResult], summary: GroupSummary
    ) -> None:
        """Keep the complete answer that `key` stands for."""
        self._keep(key, lambda: self._codec.encode_whole(*as_found(results, summary)))

    def keep_name(self, request: RequestName) -> None:
        """Keep what `request` asked for, where it was answered by what another one was."""
        self._keep(_named_key(request), lambda: request.content)

    async def whole(self, key: CacheKey) -> KeptAnswer | None:
        """Return the complete answer that `key` stands for; None where none is kept."""
        (stored,) = await self._read(key)
        return None if stored is None else self._codec.decode_whole(stored)

    async def close(self) -> None:
        """Write what waits, and return."""
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)

    def _keep(self, key: CacheKey, encode: Callable[[], bytes]) -> None:
        if len(self._waiting) >= self._most_waiting:
            self._dropped(1)
            return
        self._waiting[key] = encode
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write what waits, all that is there at once, until nothing does."""
        while self._waiting:
            entries = dict(self._waiting)
            try:
                await self._cache.put_many({key: encode() for key, encode in entries.items()})
            except Exception:
                # A store does not raise, so this is a defect; the answer has left already.
                _log.exception("rewards could not be kept")
                self._dropped(len(entries))
            finally:
                for key, encode in entries.items():
                    if self._waiting.get(key) is encode:
                        del self._waiting[key]

    async def _read(self, *keys: CacheKey) -> list[bytes | None]:
        """Return what is kept or waits to be, in the order of `keys`."""
        waiting = {key: self._waiting[key]() for key in keys if key in self._waiting}
        others = [key for key in keys if key not in waiting]
        stored = await self._cache.get_many(others) if others else ()
        found = {**waiting, **dict(zip(others, stored, strict=True))}
        return [found[key] for key in keys]


def _group_key(name: str) -> CacheKey:
    return CacheKey(REWARDS, digest("reward group", {"name": name}))


def _result_key(name: str, index: int) -> CacheKey:
    return CacheKey(REWARDS, digest("reward result", {"name": name, "candidate": index}))


def _leads_key(name: str) -> CacheKey:
    return CacheKey(REWARDS, digest("reward leads", {"name": name}))


def _named_key(request: RequestName) -> CacheKey:
    return CacheKey(REWARDS, digest("reward name", {"request": request.key}))


def _answer_key(request: RequestName) -> CacheKey:
    return CacheKey(REWARDS, digest("reward answer", {"request": request.key}))
