"""Who of all futures that are asked for begins next, and how many of them may wait.

A simulator plays so many futures at once; each of them holds a place. All others wait in one line,
and that line has a bound: a request whose futures do not fit into what is left of it is refused at
once and as a whole, unless they follow others of a group that was let in. It waits as a number and
not as tasks, whatever it asks for: a future is made when its place is given.

A place that becomes free goes, in this order, to

1. the job whose turn it is: jobs that wait take turns, one future each, so that their shares are
   equal however much each asks for;
2. within the job, the group with the fewest futures left to begin, so that stragglers and the last
   groups of a step go first and groups end one after another; of equals the one that came first;
3. but every `AGEING`-th place of a job goes to the group of it that came first.

So nobody starves: where J jobs wait, each gets one of any J places, and a group of n futures that
comes when groups of its job wait for W more has begun all of its own after at most
`AGEING` * (W + n) places of its job, whoever comes later.

Invariants: no place is free while a group stands in line; what was let in leaves the line only by
beginning or with its own group; every place that is given is given back once, by `ended`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Protocol

from foresight_services.core.ending_rate import EndingRate
from foresight_services.core.errors import Failure, Family, LimitReached, Reason
from foresight_services.core.ports import Clock

RETRY_AFTER: Final = "retry_after_seconds"
"""Key in the metadata of a refusal: the seconds after which to try again. None where that is
vain."""

LINE: Final = "simulator.max_waiting_futures"
"""The limit that the metadata of a refusal name."""

AGEING: Final = 8
"""One of so many places of a job goes to its oldest group, whatever it has left."""

Begin = Callable[[], bool]
"""Starts one more future of a group and returns True; False, where it is too late, withdraws the
group. It calls nothing of the admission's meanwhile."""


def is_refusal(failure: Failure) -> bool:
    """Tell whether a group did not fit into the line, here or in a simulator elsewhere.

    It concerns the group as a whole, unlike what other limits cost single futures.
    """
    return failure.family is Family.LIMIT and failure.metadata.get("limit") == LINE


class Observer(Protocol):
    """What the operator sees of the line."""

    def futures_waiting(self, change: int) -> None:
        """Move the number of futures that wait for a place by `change`."""
        ...

    def group_refused(self) -> None:
        """Count a group that did not fit into the line."""
        ...


class Group:
    """The futures of one request on their way to a place. `leave` it, however it ends."""

    __slots__ = ("_admission", "begin", "job", "number", "standing", "waiting")

    def __init__(self, admission: Admission, job: str, futures: int) -> None:
        self._admission = admission
        self.job = job
        """Whose they are."""
        self.waiting = futures
        """Futures that have not begun."""
        self.number = 0
        """Its place in the order of arrival."""
        self.standing = False
        """Whether it stands in line."""
        self.begin: Begin = lambda: False
        """Starts one of them."""

    def stand(self, begin: Begin) -> None:
        """Take the places that are free and stand in line for the rest."""
        self.begin = begin
        self._admission.stand(self)

    def ended(self) -> None:
        """Give back the place of one future that had begun."""
        self._admission.ended()

    def leave(self) -> None:
        """Let those go that have not begun."""
        self._admission.leave(self)


class Admission:
    """The places of one simulator and the line before them."""

    def __init__(self, *, places: int, most_waiting: int, clock: Clock, observer: Observer) -> None:
        """Open all places.

        Args:
            places: futures at once, at least 1.
            most_waiting: futures that may wait, at least 0.
            clock: measures how fast futures end.
            observer: what the operator sees.
        """
        self._places = self._free = places
        self._most_waiting = most_waiting
        self._observer = observer
        self._waiting = 0
        self._arrived = 0
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._rate = EndingRate(clock)

    @property
    def free(self) -> int:
        """Places that nobody holds."""
        return self._free

    @property
    def waiting(self) -> int:
        """Futures that were let in and have not begun."""
        return self._waiting

    def enter(self, job: str, futures: int, *, bounded: bool = True) -> Group:
        """Let a request in; it stands in line when it is ready to.

        Args:
            job: whose it is; all without a name are one.
            futures: how many it asks for.
            bounded: whether it may be refused. What follows from futures that were let in may not:
                their group would be left half done.

        Raises:
            LimitReached: where its futures do not fit into the line.
        """
        room = self._free + self._most_waiting - self._waiting
        if bounded and futures > room:
            self._observer.group_refused()
            raise self._refusal(futures, futures - room)
        self._move(futures)
        return Group(self, job, futures)

    def stand(self, group: Group) -> None:
        """Let `group` take the places that are free and stand in line for the rest."""
        if group.waiting == 0 or group.standing:
            return
        self._arrived += 1
        group.number = self._arrived
        group.standing = True
        self._jobs.setdefault(group.job, _Job()).add(group)
        self._give()

    def ended(self) -> None:
        """Take one place back and give it to whoever is next."""
        self._free += 1
        if self._jobs:
            self._rate.ended()
            self._give()

    def leave(self, group: Group) -> None:
        """Let those of `group` go that have not begun."""
        self._move(-group.waiting)
        group.waiting = 0
        if not group.standing:
            return
        group.standing = False
        job = self._jobs[group.job]
        job.remove(group)
        if not job.groups:
            self._close(group.job)

    def _give(self) -> None:
        """Give away the places that are free."""
        while self._free and self._jobs:
            name, job = next(iter(self._jobs.items()))
            group = job.next()
            if not group.begin():
                self.leave(group)
                continue
            self._free -= 1
            self._move(-1)
            job.begun(group)
            if job.groups:
                self._jobs.move_to_end(name)
            else:
                self._close(name)
        if self._jobs:
            self._rate.watch()

    def _close(self, name: str) -> None:
        del self._jobs[name]
        if not self._jobs:
            self._rate.rest()

    def _move(self, change: int) -> None:
        if change:
            self._waiting += change
            self._observer.futures_waiting(change)

    def _refusal(self, futures: int, too_many: int) -> LimitReached:
        metadata = {
            "limit": LINE,
            "field": "futures",
            "asked": str(futures),
            "waiting": str(self._waiting),
            "most_waiting": str(self._most_waiting),
        }
        most = self._places + self._most_waiting
        if futures > most:
            return LimitReached(
                Reason.LIMIT_REACHED,
                f"{futures} futures never fit: the simulator plays {self._places} at once and lets"
                f" {self._most_waiting} wait ({LINE}); ask for at most"
                f" {most} in one request",
                metadata=metadata,
            )
        seconds = self._rate.seconds_for(too_many)
        return LimitReached(
            Reason.LIMIT_REACHED,
            f"{self._waiting} futures wait for a place, and {futures} more do not fit into the"
            f" line of {self._most_waiting} ({LINE}); try again in"
            f" {seconds:.1f} s",
            metadata=metadata | {RETRY_AFTER: f"{seconds:.3f}"},
        )


class _Job:
    """The groups of one job that stand in line."""

    __slots__ = ("_by_left", "_given", "groups")

    def __init__(self) -> None:
        self.groups: OrderedDict[int, Group] = OrderedDict()
        """The groups by number, oldest first."""
        # Entries are not looked for when a group is given a place out of turn or leaves: one holds
        # where its group still stands and has as many futures left.
        self._by_left: list[tuple[int, int, Group]] = []
        self._given = 0

    def add(self, group: Group) -> None:
        self.groups[group.number] = group
        heappush(self._by_left, _entry(group))

    def remove(self, group: Group) -> None:
        del self.groups[group.number]
        self._tidy()

    def next(self) -> Group:
        """Return the group that gets the job's next place."""
        if self._given % AGEING == AGEING - 1:
            return next(iter(self.groups.values()))
        while not _holds(self._by_left[0]):
            heappop(self._by_left)
        return self._by_left[0][2]

    def begun(self, group: Group) -> None:
        """Note that a future of `group`, the next one, has begun."""
        self._given += 1
        first = self._by_left[0][2] is group and _holds(self._by_left[0])
        group.waiting -= 1
        if group.waiting == 0:
            group.standing = False
            self.remove(group)
        elif first:
            heapreplace(self._by_left, _entry(group))
        else:
            heappush(self._by_left, _entry(group))
            self._tidy()

    def _tidy(self) -> None:
        """Drop entries that hold no more, once they are most."""
        if len(self._by_left) > 2 * len(self.groups) + 32:
            self._by_left = [entry for entry in self._by_left if _holds(entry)]
            heapify(self._by_left)


def _entry(group: Group) -> tuple[int, int, Group]:
    return (group.waiting, group.number, group)


def _holds(entry: tuple[int, int, Group]) -> bool:
    left, _, group = entry
    return group.standing and group.waiting == left
