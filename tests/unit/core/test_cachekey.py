"""Keys: whatever determines a value is in them, and nothing else is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.budget import Budget
from foresight_services.core.cachekey import FutureKeys, ScoreKeys, canonical, digest
from foresight_services.core.conversation import Message
from foresight_services.core.future import (
    EvaluationItem,
    EvaluationSetup,
    FutureId,
    MetricInfo,
    SimulationRequest,
)
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.task import PolicyRef, Task
from tests.fakes.evaluation import evaluation_setup
from tests.fakes.simulation import simulation_request

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def meaning(value):
    """Return `value` as something that is equal exactly where it means the same."""
    match value:
        case bool() | None:
            return (type(value), value)
        case int() | float():
            return ("number", value)
        case dict():
            return ("mapping", frozenset((key, meaning(one)) for key, one in value.items()))
        case list():
            return ("list", tuple(map(meaning, value)))
        case _:
            return (type(value), value)


@given(VALUES, VALUES)
def test_values_are_spelled_alike_exactly_where_they_are_alike(one, other) -> None:
    assert (canonical(one) == canonical(other)) == (meaning(one) == meaning(other))


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=6), st.randoms())
def test_the_order_of_a_mapping_and_the_white_space_of_json_do_not_matter(fields, rng) -> None:
    items = list(fields.items())
    rng.shuffle(items)
    assert digest("x", dict(items)) == digest("x", fields)
    for indent in (None, 1, 4):
        assert digest("x", json.loads(json.dumps(fields, indent=indent))) == digest("x", fields)


@given(st.lists(st.text(max_size=4), max_size=6), st.lists(st.text(max_size=4), max_size=6))
def test_neighbours_do_not_run_together(one, other) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


def test_types_are_told_apart_and_numbers_are_not() -> None:
    different: list[Any] = [None, False, True, 0, 1, "", "0", "1", b"", b"1", [], [None], {}, 0.5]
    different += [{"": None}, math.inf, -math.inf, math.nan, [[]], 2**64, 10.0**300]
    assert len({canonical(value) for value in different}) == len(different)
    assert canonical(3) == canonical(3.0)
    assert canonical(0.0) == canonical(-0.0)
    assert canonical(math.nan) == canonical(-math.nan)
    assert canonical("\ud800") != canonical("?")


def test_keys_are_stable() -> None:
    # Written down, because a change would empty every cache without a word.
    assert digest("x", {"a": [1, "b", None]}).hex() == (
        "fe693126adcf7be7c99e8a223d07e382ae1e9079a7e2012865daae909debc8a7"
    )


SOURCE = PolicySource(SourceKind.ENDPOINT, "http://h:1/v1")
PUBLISHED = PublishedPolicy(PolicyRef("policy", 3), SOURCE, 17)
REQUEST = simulation_request(
    task=Task("preset", "d", "g", "goal", "reference", "w", {"k": "v"}),
    prefix=(Message("system", "s"), Message("user", "hello")),
    candidates=("one", "two"),
    samples=3,
    personas=("x", "y"),
    policy=PolicyRef("policy", 3),
    published=PUBLISHED,
    system_prompt_samples=1,
    proactive_samples=1,
)
WHICH = FutureId(0, 1)


def task(request: SimulationRequest | EvaluationSetup, **fields):
    return replace(request, task=replace(request.task, **fields))


def published(**fields):
    return lambda request: replace(request, published=replace(PUBLISHED, **fields))


def with_(**fields):
    return lambda request: replace(request, **fields)


Change = Callable[[SimulationRequest], SimulationRequest]

MATTERS: dict[str, Change] = {
    "prefix content": with_(prefix=(Message("system", "s"), Message("user", "hello!"))),
    "prefix role": with_(prefix=(Message("user", "s"), Message("user", "hello"))),
    "prefix cut elsewhere": with_(prefix=(Message("system", "shello"), Message("user", ""))),
    "candidate": with_(candidates=("one ", "two")),
    "description": lambda r: task(r, description="e"),
    "guidance": lambda r: task(r, guidance="h"),
    "goal": lambda r: task(r, goal="other"),
    "world": lambda r: task(r, world="v"),
    "fields change places": lambda r: task(r, description="g", guidance="d"),
    "horizon": with_(horizon_messages=6),
    "tokens": with_(max_message_tokens=101),
    "seed": with_(seed=1),
    "personas": with_(personas=("x",)),
    "order of personas, which draws depend on": with_(personas=("y", "x")),
    "policy name": with_(policy=PolicyRef("other", 3)),
    "policy version": with_(policy=PolicyRef("policy", 4)),
    "not published": with_(published=None),
    "kind of source": published(source=PolicySource(SourceKind.TRL_SERVER, SOURCE.location)),
    "place": published(source=PolicySource(SourceKind.ENDPOINT, "http://h:2/v1")),
    "time of publication": published(published_at_ns=18),
    "system prompt": with_(system_prompt_samples=2),
    "proactive": with_(proactive_samples=2),
}

CHANGES_NOTHING: dict[str, Change] = {
    "reference": lambda r: task(r, reference="other"),
    "metadata": lambda r: task(r, metadata={}),
    "preset": lambda r: task(r, preset=""),
    "budget": with_(budget=Budget(7)),
    "other candidates": with_(candidates=("one", "three", "four")),
    "other futures": with_(futures=(WHICH,)),
    "a persona named twice": with_(personas=("x", "y", "x")),
    "flags of other samples": with_(system_prompt_samples=0, proactive_samples=1),
}


def future_key(request: SimulationRequest, which: FutureId = WHICH, fingerprint: str = "f"):
    return FutureKeys(request, fingerprint).of(which)


@pytest.mark.parametrize("change", MATTERS.values(), ids=MATTERS)
def test_a_futures_key_changes_with(change: Change) -> None:
    assert future_key(change(REQUEST)) != future_key(REQUEST)


@pytest.mark.parametrize("change", CHANGES_NOTHING.values(), ids=CHANGES_NOTHING)
def test_a_futures_key_does_not_change_with(change: Change) -> None:
    assert future_key(change(REQUEST)) == future_key(REQUEST)


def test_all_changes_of_a_future_lead_apart() -> None:
    keys = {future_key(change(REQUEST)) for change in MATTERS.values()}
    assert len(keys) == len(MATTERS)


def test_a_futures_key_depends_on_sample_and_simulator_but_not_on_the_candidates_place() -> None:
    assert future_key(REQUEST, FutureId(0, 2)) != future_key(REQUEST)
    assert future_key(REQUEST, fingerprint="g") != future_key(REQUEST)
    moved = replace(REQUEST, candidates=("two", "one"))
    assert future_key(moved, FutureId(1, 1)) == future_key(REQUEST)


SPEC = MetricSpec("accuracy", 1.0, "answer", {"votes": 3})
INFO = MetricInfo("accuracy", "1", Range(0, 1), identity="judge")
SETUP = evaluation_setup(
    task=Task("preset", "d", "g", "", "reference", "w", {"k": "v", "l": "w"}),
    prefix=(Message("system", "s"), Message("user", "hello")),
    candidates=("one", "two"),
    metrics=(SPEC,),
)
ITEM = EvaluationItem(FutureId(0, 1), "goal", (Message("user", "u"), Message("assistant", "a")))


def score_key(setup: EvaluationSetup = SETUP, info: MetricInfo = INFO, item=ITEM):
    (key,) = ScoreKeys(setup, (info,)).of(item)
    return key


SCORE_MATTERS = {
    "prefix": {"setup": replace(SETUP, prefix=SETUP.prefix[1:])},
    "candidate": {"setup": replace(SETUP, candidates=("One", "two"))},
    "goal": {"item": replace(ITEM, goal="other")},
    "messages": {"item": replace(ITEM, messages=ITEM.messages[:1])},
    "role": {"item": replace(ITEM, messages=(Message("user", "u"), Message("user", "a")))},
    "description": {"setup": task(SETUP, description="e")},
    "guidance": {"setup": task(SETUP, guidance="e")},
    "reference": {"setup": task(SETUP, reference="e")},
    "world": {"setup": task(SETUP, world="e")},
    "metadata": {"setup": task(SETUP, metadata={"k": "v", "l": ""})},
    "horizon": {"setup": replace(SETUP, horizon_messages=6)},
    "tokens": {"setup": replace(SETUP, max_message_tokens=7)},
    "metric": {"setup": replace(SETUP, metrics=(replace(SPEC, name="success"),))},
    "artifact": {"setup": replace(SETUP, metrics=(replace(SPEC, artifact="code"),))},
    "version": {"info": replace(INFO, version="2")},
    "identity": {"info": replace(INFO, identity="another judge")},
}

SCORE_CHANGES_NOTHING = {
    "weight": {"setup": replace(SETUP, metrics=(replace(SPEC, weight=-2.0),))},
    "label": {
        "setup": replace(SETUP, metrics=(replace(SPEC, label="mine"),)),
        "info": replace(INFO, name="mine"),
    },
    "preset": {"setup": task(SETUP, preset="")},
    "the task's own goal": {"setup": task(SETUP, goal="left open otherwise")},
    "order of metadata": {"setup": task(SETUP, metadata={"l": "w", "k": "v"})},
    "budget": {"setup": replace(SETUP, budget=Budget(7))},
    "sample": {"item": replace(ITEM, id=FutureId(0, 2))},
    "other candidates": {"setup": replace(SETUP, candidates=("one", "three"))},
}


@pytest.mark.parametrize("changed", SCORE_MATTERS.values(), ids=SCORE_MATTERS)
def test_a_scores_key_changes_with(changed) -> None:
    assert score_key(**changed) != score_key()


@pytest.mark.parametrize("changed", SCORE_CHANGES_NOTHING.values(), ids=SCORE_CHANGES_NOTHING)
def test_a_scores_key_does_not_change_with(changed) -> None:
    assert score_key(**changed) == score_key()


def test_a_metric_that_does_not_say_what_it_is_has_no_key() -> None:
    assert score_key(info=replace(INFO, identity="")) is None


def test_futures_and_scores_are_apart() -> None:
    assert {future_key(REQUEST).namespace, score_key().namespace} == {"future", "score"}


KEYED = {
    SimulationRequest: {
        *("task", "prefix", "candidates", "futures", "horizon_messages", "seed", "policy"),
        *("max_message_tokens", "system_prompt_samples", "proactive_samples", "published"),
        "personas",
    },
    EvaluationSetup: {
        *("task", "prefix", "candidates", "metrics", "horizon_messages", "max_message_tokens"),
    },
    EvaluationItem: {"id", "goal", "messages"},
    Task: {"description", "guidance", "goal", "reference", "world", "metadata"},
    MetricSpec: {"name", "artifact", "parameters"},
    MetricInfo: {"version", "identity"},
    PolicyRef: {"name", "version"},
    PublishedPolicy: {"ref", "source", "published_at_ns"},
}
"""Fields that determine a value and are in its key, by themselves or as part of an identity."""

NOT_KEYED = {
    SimulationRequest: {"budget", "job", "follow_up", "cache", "shared"},
    EvaluationSetup: {"budget", "cache"},
    # Which metrics are asked for says which keys there are.
    EvaluationItem: {"metrics"},
    Task: {"preset"},
    MetricSpec: {"weight", "label", "normalise", "clamp"},
    MetricInfo: {"name", "range", "judge_calls", "metric", "unit", "direction"},
    PolicyRef: set(),
    PublishedPolicy: set(),
}


@pytest.mark.parametrize("kind", KEYED, ids=lambda kind: kind.__name__)
def test_every_field_is_known_to_be_part_of_a_key_or_not(kind: Any) -> None:
    # A field that is new must be put into a key, or be known to change nothing.
    assert {field.name for field in fields(kind)} == KEYED[kind] | NOT_KEYED[kind]
