"""Keys are equal exactly where everything that determines a value is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.cache import CacheKey
from foresight_services.core.cachekey import FutureKeys, ScoreKeys
from foresight_services.core.conversation import Message
from foresight_services.core.future import EvaluationItem, FutureId, MetricInfo
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.task import PolicyRef, Task
from tests.fakes.evaluation import evaluation_setup
from tests.fakes.simulation import simulation_request

# Few and short, so that equal ones are common and texts run into each other where they can.
texts = st.text("ab", max_size=2)
small = st.integers(0, 2)
conversations = st.lists(
    st.builds(Message, st.sampled_from(["user", "assistant"]), texts), max_size=3
).map(tuple)
published = st.none() | st.builds(
    lambda kind, place, when: PublishedPolicy(
        PolicyRef("p", 1), PolicySource(kind, f"http://{place}"), when
    ),
    st.sampled_from(SourceKind),
    texts,
    small,
)

FUTURE: dict[str, st.SearchStrategy[Any]] = {
    "prefix": conversations,
    "candidate": texts,
    "description": texts,
    "guidance": texts,
    "goal": texts,
    "world": texts,
    "horizon": small,
    "tokens": small,
    "seed": small,
    "personas": st.lists(texts, max_size=3, unique=True).map(tuple),
    "policy": st.builds(PolicyRef, texts, small),
    "published": published,
    "sample": small,
    "system prompt": st.booleans(),
    "proactive": st.booleans(),
    "fingerprint": texts,
}
SCORE: dict[str, st.SearchStrategy[Any]] = {
    "prefix": conversations,
    "candidate": texts,
    "messages": conversations,
    "goal": texts,
    "description": texts,
    "guidance": texts,
    "reference": texts,
    "world": texts,
    "metadata": st.dictionaries(texts, texts, max_size=2),
    "horizon": small,
    "tokens": small,
    "metric": texts,
    "artifact": texts,
    "version": texts,
    "identity": texts.map(lambda text: f"i{text}"),
}


def future_key(given: dict[str, Any]) -> CacheKey:
    sample = given["sample"]
    request = simulation_request(
        task=Task("", given["description"], given["guidance"], given["goal"], "", given["world"]),
        prefix=given["prefix"],
        candidates=(given["candidate"],),
        horizon_messages=given["horizon"],
        max_message_tokens=given["tokens"],
        seed=given["seed"],
        personas=given["personas"],
        policy=given["policy"],
        published=given["published"],
        system_prompt_samples=sample + 1 if given["system prompt"] else 0,
        proactive_samples=sample + 1 if given["proactive"] else 0,
    )
    return FutureKeys(request, given["fingerprint"]).of(FutureId(0, sample))


def score_key(given: dict[str, Any]) -> CacheKey | None:
    setup = replace(
        evaluation_setup("any"),
        task=Task(
            *("", given["description"], given["guidance"], "", given["reference"], given["world"]),
            given["metadata"],
        ),
        prefix=given["prefix"],
        candidates=(given["candidate"],),
        horizon_messages=given["horizon"],
        max_message_tokens=given["tokens"],
        metrics=(MetricSpec(given["metric"], 1.0, given["artifact"]),),
    )
    info = MetricInfo("any", given["version"], Range(0, 1), identity=given["identity"])
    item = EvaluationItem(FutureId(0, 0), given["goal"], given["messages"])
    (key,) = ScoreKeys(setup, (info,)).of(item)
    return key


@st.composite
def pairs(draw: st.DrawFn, fields: dict[str, st.SearchStrategy[Any]]) -> tuple[Any, Any]:
    """Draw all fields twice, most of them alike."""
    one = {name: draw(values) for name, values in fields.items()}
    redrawn = draw(st.sets(st.sampled_from(sorted(fields)), max_size=3))
    return one, one | {name: draw(fields[name]) for name in sorted(redrawn)}


@given(pairs(FUTURE))
def test_futures_have_one_key_exactly_where_all_is_equal(pair: tuple[Any, Any]) -> None:
    one, other = pair
    assert (future_key(one) == future_key(other)) == (one == other)


@given(pairs(SCORE))
def test_scores_have_one_key_exactly_where_all_is_equal(pair: tuple[Any, Any]) -> None:
    one, other = pair
    assert (score_key(one) == score_key(other)) == (one == other)


@given(pairs(SCORE), st.randoms())
def test_the_order_of_metadata_does_not_matter(pair: tuple[Any, Any], rng: Any) -> None:
    one, _ = pair
    shuffled = list(one["metadata"].items())
    rng.shuffle(shuffled)
    assert score_key(one | {"metadata": dict(shuffled)}) == score_key(one)
