"""Requests in progress: one that is asked for again while it runs is not computed twice.

A run tells its scored futures to all who are attached to it. Each caller makes its own answer of
them and keeps its own deadline, so none gets an answer cut short by another's; a caller that comes
late is told first what the others know. A run goes on while anybody is attached to it, and is
cancelled when the last one has left.

A request is known by the name that its caller gave it, within its job, else by its content. Who
uses a name again means the same request: other content under it is refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from foresight_services.core.baseline import Drawn
from foresight_services.core.cache_use import Origin
from foresight_services.core.cachekey import Keyed, digest
from foresight_services.core.errors import (
    DomainError,
    InvalidInput,
    Reason,
    Upstream,
    Violation,
    error_from,
)
from foresight_services.core.future import MetricInfo
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import CandidateResult, ScoredFuture
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Usage

OTHER_CONTENT: Final = "names another request of this job; use an id of its own for this one"


@dataclasses.dataclass(frozen=True, slots=True)
class Played:
    """The policy of a computation, resolved."""

    ref: PolicyRef
    """Name and version."""
    published: PublishedPolicy | None
    """Where it is served; None for a policy of the simulator's configuration."""


@dataclasses.dataclass(frozen=True, slots=True)
class RequestName:
    """What a request is known by."""

    key: bytes
    """32 bytes over job and `request_id`, else over the content."""
    content: bytes
    """32 bytes over everything that was asked for, defaults filled in."""
    given: bool
    """Whether the caller gave a `request_id`."""

    def check(self, content: bytes) -> None:
        """Raise InvalidInput where `content`, known by this name, is another request's."""
        if content != self.content:
            raise InvalidInput((Violation("request_id", OTHER_CONTENT),))


def name_of(request_id: str, request: RewardRequest, played: Played | None) -> RequestName:
    """Return the name of `request`.

    Args:
        request_id: what its caller called it; empty for nothing.
        request: the request, defaults filled in.
        played: the policy version that it gets now. Without a `request_id` it is part of the name:
            nobody who asks after a version was published is attached to an older one.
    """
    asked: Keyed = asked_for(request)
    if not request_id:
        content = digest("request", {"asked": asked, "version": keyed(played)})
        return RequestName(content, content, given=False)
    key = digest("request id", {"job": request.job, "request_id": request_id})
    return RequestName(key, digest("request", {"asked": asked}), given=True)


def asked_for(request: RewardRequest) -> dict[str, Keyed]:
    """Return everything that was asked for, as something to digest, by field."""
    fields = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
    if request.plan is None:
        # Names and keys of requests without one are those of versions that knew none.
        del fields["plan"]
    if request.baseline is None:
        del fields["baseline"]
    return {name: keyed(value) for name, value in fields.items()}


_PLAIN: Final = (bool, int, float, str, bytes)


_fields: Final[dict[type, tuple[str, ...]]] = {}
"""The names of the fields of every class that a request is made of."""


def keyed(value: object) -> Keyed:
    """Return `value`, part of a request, as something to digest: every field of it."""
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {str(key): keyed(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [keyed(entry) for entry in value]
    if dataclasses.is_dataclass(value):
        kind = type(value)
        names = _fields.get(kind)
        if names is None:
            names = _fields[kind] = tuple(field.name for field in dataclasses.fields(value))
        return {name: keyed(getattr(value, name)) for name in names}
    raise AssertionError(f"a request holds a {type(value).__name__}, which cannot be digested")


Told = ScoredFuture | Drawn | Exception
"""What a run tells: each future once, the draws of a baseline before its futures, then why there
are no more."""


class Run:
    """One computation and who is attached to it."""

    def __init__(self, name: RequestName | None) -> None:
        self.name = name
        """What it is known by; None where it is its caller's alone."""
        self.group = new_group()
        """Name of its results in the store."""
        self.results: dict[int, CandidateResult] = {}
        """Complete results that were given under its name, by candidate."""
        self.withdrawal: DomainError | None = None
        """Why its policy version was taken away; None while it plays."""
        self.played: Played | None = None
        """The policy as it was resolved; None until the request is accepted."""
        self._opened: asyncio.Future[tuple[MetricInfo, ...]] = (
            asyncio.get_running_loop().create_future()
        )
        self._told: list[Told] = []
        self._attached: set[Attachment] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Callable[[Run], Awaitable[None]]) -> None:
        """Begin the work, which opens the run and tells its futures."""
        self._task = asyncio.create_task(self._live(work))

    def open(self, metrics: tuple[MetricInfo, ...], played: Played) -> None:
        """Say that the request was accepted: the metrics as they are applied, and the policy."""
        self.played = played
        self._opened.set_result(metrics)

    def tell(self, told: Told) -> None:
        """Tell all who are attached, and all who will be."""
        self._told.append(told)
        for attachment in self._attached:
            attachment.heard.put_nowait(told)

    def withdraw(self, reason: DomainError) -> None:
        """End it because its policy version was taken away."""
        self.withdrawal = reason
        self.tell(reason)

    @property
    def joinable(self) -> bool:
        """Whether another caller can still get a whole answer of it."""
        futures = [told for told in self._told if isinstance(told, ScoredFuture)]
        if not any(isinstance(told, Exception) for told in self._told):
            return True
        whole = bool(futures) and self.withdrawal is None
        return whole and all(future.failure is None for future in futures)

    async def metrics(self) -> tuple[MetricInfo, ...]:
        """Return the metrics once it is open; raises what kept it from being opened."""
        try:
            return await asyncio.shield(self._opened)
        except Exception as error:
            raise self.again(error) from None

    def again(self, error: Exception) -> Exception:
        """Return `error` for one of those who are told it; an exception has but one trace."""
        if self.name is None or not isinstance(error, DomainError):
            return error
        return error_from(error.failure)

    def attach(self, *, shared: bool) -> Attachment:
        """Let one more caller hear what is told."""
        attachment = Attachment(self, shared=shared)
        for told in self._told:
            attachment.heard.put_nowait(told)
        self._attached.add(attachment)
        return attachment

    def leave(self, attachment: Attachment) -> asyncio.Task[None] | None:
        """Tell one caller nothing more; return the work, which ends, where it was the last one."""
        self._attached.discard(attachment)
        if self._attached or self._task is None:
            return None
        task, self._task = self._task, None
        task.cancel()
        return task

    async def _live(self, work: Callable[[Run], Awaitable[None]]) -> None:
        ended: Exception = ended_early()
        try:
            await work(self)
        except Exception as error:
            ended = error
        except asyncio.CancelledError as cancelled:
            # It and the frames of the work hold each other, and with them every future of the run.
            traceback.clear_frames(cancelled.__traceback__)
            raise
        finally:
            # However the work ends, there is an end to wait for.
            self._end(ended)

    def _end(self, error: Exception) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            # Whoever waits is told; where nobody does any more, it is nobody's.
            self._opened.exception()
        self.tell(error)


class Attachment:
    """One caller's place at a run."""

    def __init__(self, run: Run, *, shared: bool) -> None:
        self.run = run
        """The run."""
        self.heard: asyncio.Queue[Told] = asyncio.Queue()
        """What was told and not taken yet."""
        self._shared = shared

    def seen(self, told: ScoredFuture | Drawn) -> ScoredFuture | Drawn:
        """Return what was told as this caller sees it: another's work costs it nothing."""
        if not self._shared:
            return told
        return told.shared() if isinstance(told, Drawn) else shared(told)


def shared(future: ScoredFuture) -> ScoredFuture:
    """Return `future` for a request that did not compute it."""
    return dataclasses.replace(
        future,
        usage=Usage(),
        origin=_shared(future.origin),
        origins=tuple(map(_shared, future.origins)),
        cost=future.cost or future.usage,
    )


def _shared(origin: Origin) -> Origin:
    return Origin.SHARED if origin is Origin.COMPUTED else origin


class Runs:
    """The runs of this process that can be attached to."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Run] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def attached(
        self, name: RequestName | None, work: Callable[[Run], Awaitable[None]]
    ) -> AsyncIterator[Attachment]:
        """Attach to the run that is known by `name`, or to a new one that does `work`.

        Raises:
            InvalidInput: where a run of other content is known by that name.
        """
        run = None if name is None else self._by_key.get(name.key)
        if run is not None and run.name is not None and name is not None:
            name.check(run.name.content)
            if not run.joinable:
                run = None
        joined = run is not None
        if run is None:
            run = Run(name)
            if name is not None:
                self._by_key[name.key] = run
            run.start(work)
        attachment = run.attach(shared=joined and name is not None and not name.given)
        answered = False
        try:
            yield attachment
            answered = True
        finally:
            work_that_ends = run.leave(attachment)
            if work_that_ends is not None:
                # First, so that whoever comes next does not attach to what ends.
                if name is not None and self._by_key.get(name.key) is run:
                    del self._by_key[name.key]
                if answered:
                    # The answer does not wait for the end of what it had to leave out: thousands
                    # of futures take longer to cancel than the margin before a deadline.
                    self._ending.add(work_that_ends)
                    work_that_ends.add_done_callback(self._ending.discard)
                else:
                    await asyncio.gather(work_that_ends, return_exceptions=True)


def new_group() -> str:
    """Return a name for the results of one computation: 128 random bits, in hex."""
    return secrets.token_hex(16)


def ended_early() -> DomainError:
    """Return the error of a future that nobody tells of."""
    return Upstream(Reason.SERVICE_UNAVAILABLE, "the simulator ended without this future")
