"""What the side-by-side benchmark reads from a log: critical paths, slots in use, prefixes."""

from __future__ import annotations

import pytest

from bench.side_by_side import call_log, prefixes
from bench.side_by_side.bench import NotWholeError, checked
from bench.side_by_side.call_log import Call, critical_paths
from bench.side_by_side.prefixes import Prompt, Reuse, common_prefix, reuse


def call(
    arrival: float,
    start: float,
    end: float,
    *,
    tag: str = "",
    parent: str = "",
    case: str = "7",
    role: str = "user",
    characters: int = 10,
    status: int = 200,
) -> Call:
    return Call(arrival, start, end, role, characters, case, tag, parent, status)


# Two futures of case 7; the first one's second judge is the last to end, the second one's chain is
# longest: 2 + 5 + 1 = 8 against 3 + 1 + 3 = 7.
LOG = [
    call(0, 0, 3, tag="a1"),
    call(3.5, 3.5, 4.5, tag="a2", parent="a1", role="policy"),
    call(7, 7, 9, tag="a3", parent="a2", role="judge"),
    call(7, 7, 10, tag="a4", parent="a2", role="judge"),
    call(0, 0, 2, tag="b1"),
    call(2, 2, 7, tag="b2", parent="b1", role="policy"),
    call(7, 7, 8, tag="b3", parent="b2", role="judge"),
    call(1, 1, 2, tag="c1", case="8"),
]


def test_a_critical_path_is_the_longest_future_and_its_slowest_judge() -> None:
    assert critical_paths(LOG) == {"7": 8.0, "8": 1.0}
    assert critical_paths(reversed(LOG)) == {"7": 8.0, "8": 1.0}


def test_waiting_for_a_slot_belongs_to_the_critical_path() -> None:
    assert critical_paths([call(1, 4, 6, tag="a")]) == {"7": 5.0}


def test_a_refused_call_begins_no_chain_but_ends_one() -> None:
    log = [
        call(0, 0, 2, tag="a"),
        call(2, 2, 2.5, parent="a", status=503),
        call(3, 3, 4, tag="b", parent="a"),
    ]
    assert critical_paths(log) == {"7": 3.0}
    assert critical_paths(log[:2]) == {"7": 2.5}
    assert call_log.faults(log) == {503: 1}
    assert call_log.good_calls(log) == 2


def test_a_conversation_is_named_by_its_first_call() -> None:
    roots = call_log.conversations(LOG)
    assert {tag: root for tag, root in roots.items() if root == "a1"}.keys() == {
        "a1",
        "a2",
        "a3",
        "a4",
    }
    assert (roots["b3"], roots["c1"]) == ("b1", "c1")


def test_slot_share_counts_service_inside_the_window_only() -> None:
    log = [call(0, 0, 4), call(0, 1, 3), call(0, 3, 9), call(0, 8, 9)]
    # From 2 to 6: 2 s, 1 s, 3 s and nothing, of two slots for 4 s.
    assert call_log.slot_share(log, 2, 2.0, 6.0) == 6 / 8


def test_calls_at_once_do_not_count_one_that_ends_as_another_begins() -> None:
    log = [call(0, 0, 2), call(0, 1, 3), call(0, 2, 4), call(0, 2.5, 3)]
    assert call_log.most_at_once(log) == 3
    assert call_log.most_at_once(log[:3]) == 2


def test_a_conversation_is_open_between_its_calls_too() -> None:
    log = [
        call(0, 0, 1, tag="a"),
        call(5, 5, 6, tag="b", parent="a"),
        call(2, 2, 3, tag="c"),
        call(6, 6, 7, tag="d"),
        call(0, 0, 0, status=503),
    ]
    assert call_log.most_at_once(log[:4]) == 1
    assert call_log.most_conversations(log) == 2


def test_characters_are_counted_by_role() -> None:
    log = [call(0, 0, 1), call(0, 0, 1, role="judge", characters=7), call(0, 0, 1)]
    assert call_log.characters(log) == {"user": 20, "judge": 7}


def test_calls_that_are_missing_or_faulty_are_no_measurement() -> None:
    # Three futures of one MR, each a chain of six calls.
    whole = [
        call(n, n, n + 1, tag=f"{future}.{n}", parent=f"{future}.{n - 1}")
        for future in "abc"
        for n in range(6)
    ]
    assert checked(whole, 1) == whole
    loose = whole[0]._replace(parent="", tag="d")
    for wrong in (whole[1:], [*whole[1:], call(0, 0, 0, status=429)], [*whole[:-1], loose]):
        with pytest.raises(NotWholeError):
            checked(wrong, 1)


def test_a_shared_first_call_begins_as_many_conversations_as_it_has_choices() -> None:
    shared = call(0, 0, 1, tag="s")._replace(choices=3)
    whole = [shared] + [
        call(n, n, n + 1, tag=f"{future}.{n}", parent=f"{future}.{n - 1}" if n > 1 else "s")
        for future in "abc"
        for n in range(1, 6)
    ]
    assert checked(whole, 1) == whole
    assert set(call_log.conversations(whole).values()) == {"a.1", "b.1", "c.1"}
    assert call_log.most_conversations(whole) == 3
    with pytest.raises(NotWholeError):
        checked([shared._replace(choices=2), *whole[1:]], 1)


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [(b"", b"abc", 0), (b"abc", b"abc", 3), (b"abcd", b"abxd", 2), (b"ab", b"abc", 2)],
)
def test_common_prefix(one: bytes, other: bytes, length: int) -> None:
    assert common_prefix(one, other) == length == common_prefix(other, one)


def test_reuse_is_of_earlier_prompts_of_the_same_model() -> None:
    prompts = [
        Prompt("user", b"rules: hello"),
        Prompt("judge", b"rules: hello"),
        Prompt("user", b"rules: help me"),
        Prompt("user", b"other"),
        Prompt("user", b"rules: hello there"),
    ]
    found = reuse(prompts)
    assert found == Reuse(repeated=len(b"rules: hel") + len(b"rules: hello"), total=61)
    assert found.share == 22 / 61
    # Whether what has most in common comes before or after in the alphabet.
    assert reuse([Prompt("m", b"abz"), Prompt("m", b"b"), Prompt("m", b"aba")]).repeated == 2
    assert reuse([Prompt("m", b"aba"), Prompt("m", b"a"), Prompt("m", b"abz")]).repeated == 3


def test_messages_are_rendered_with_their_roles() -> None:
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "ü"}]
    assert prefixes.rendered(said) == "<system>\nBe kind.\n<user>\nü\n".encode()
