"""The model server's log, and what it proves: critical paths, slots in use, calls, characters.

Every reply carries a tag, and a prompt holds the tags of the replies that it was made from; the
last one names the call that had to end before this one could begin. So the log itself tells which
calls form a future's chain, whoever the client is. A call that draws several choices, which share
its tag, begins as many chains.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

Role = Literal["user", "policy", "judge"]


class Call(NamedTuple):
    """One call, as it is sent over the wire too; times are in seconds of the monotonic clock."""

    arrival: float
    """When its last byte was read."""
    start: float
    """When it got a slot."""
    end: float
    """When its answer was written."""
    role: str
    """Which model was asked."""
    characters: int
    """Length of its messages' contents."""
    case: str
    """The candidate that it was made for; empty where the prompt names none."""
    tag: str
    """What its reply is marked with; empty for a fault."""
    parent: str
    """The tag of the reply that it continues or judges; empty at the beginning of a future."""
    status: int
    """The HTTP status of the answer."""
    choices: int = 1
    """How many replies it asked for."""

    @property
    def good(self) -> bool:
        """Whether it was answered with a reply."""
        return self.status == 200


def critical_paths(calls: Iterable[Call]) -> dict[str, float]:
    """Return the seconds of the longest chain of calls of each case, judges included.

    A call counts from its arrival, so the wait for a slot belongs to the backend. A call that was
    refused counts as part of the chain of the call that its prompt continues.
    """
    finished: dict[str, float] = {}
    longest: defaultdict[str, float] = defaultdict(float)
    for call in sorted(calls, key=lambda call: call.arrival):
        path = finished.get(call.parent, 0.0) + call.end - call.arrival
        if call.good:
            finished[call.tag] = path
        if call.case:
            longest[call.case] = max(longest[call.case], path)
    return dict(longest)


def conversations(calls: Iterable[Call]) -> dict[str, str]:
    """Return, by the tag of each call, the tag of the first call of its conversation.

    A call that several conversations share is left out; each of them begins after it.
    """
    root: dict[str, str] = {}
    for call in sorted(calls, key=lambda call: call.arrival):
        if call.good and call.choices == 1:
            root[call.tag] = root.get(call.parent, call.tag)
    return root


def slot_share(calls: Iterable[Call], slots: int, begin: float, end: float) -> float:
    """Return the share of `slots` that served a call, from `begin` to `end`."""
    busy = sum(max(0.0, min(call.end, end) - max(call.start, begin)) for call in calls)
    return busy / (slots * (end - begin))


def most_at_once(calls: Iterable[Call]) -> int:
    """Return the greatest number of calls that were served at the same time."""
    return _most_open((call.start, call.end) for call in calls)


def most_conversations(calls: Sequence[Call]) -> int:
    """Return the greatest number of conversations between their first call and their last's end."""
    roots = conversations(calls)
    spans: dict[str, tuple[float, float]] = {}
    for call in calls:
        if call.tag in roots:
            begin, end = spans.get(root := roots[call.tag], (call.arrival, call.end))
            spans[root] = min(begin, call.arrival), max(end, call.end)
    return _most_open(spans.values())


def _most_open(spans: Iterable[tuple[float, float]]) -> int:
    """Return how many of `spans` overlap at most; one that ends makes room for one that begins."""
    changes = sorted(change for begin, end in spans for change in ((begin, 1), (end, -1)))
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def characters(calls: Iterable[Call]) -> Counter[str]:
    """Return the prompt characters sent to each role."""
    sent: Counter[str] = Counter()
    for call in calls:
        sent[call.role] += call.characters
    return sent


def faults(calls: Iterable[Call]) -> Mapping[int, int]:
    """Return how many calls were refused, by status."""
    return Counter(call.status for call in calls if not call.good)


def good_calls(calls: Sequence[Call]) -> int:
    """Return how many calls were answered with a reply."""
    return sum(call.good for call in calls)
