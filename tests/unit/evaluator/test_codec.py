"""What an evaluation is made of survives the wire, to the last bit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import metric_pb2
from foresight_services.core.budget import Budget
from foresight_services.core.conversation import ROLES, Message
from foresight_services.core.errors import Failure, Family, Reason, Violation
from foresight_services.core.future import (
    ConversationScores,
    Direction,
    EvaluationItem,
    EvaluationSetup,
    Extracted,
    FutureId,
    MetricInfo,
    MetricScore,
    Verdict,
    Wanted,
)
from foresight_services.core.objective import Clamp, MetricSpec, Range
from foresight_services.core.task import Task
from foresight_services.core.usage import ModelUsage, Usage
from foresight_services.evaluator import codec
from foresight_services.rpc.codec import decode_info, encode_info

TEXT = st.text(max_size=20)
NAME = st.text(min_size=1, max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, 2**31 - 1)
MANY = st.integers(0, 2**40)

IDS = st.builds(FutureId, COUNT, COUNT)
CONVERSATIONS = st.lists(st.builds(Message, st.sampled_from(sorted(ROLES)), TEXT), max_size=3).map(
    tuple
)
BUDGETS = st.builds(Budget, MANY, st.floats(0, 1e9))

JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SPECS = st.builds(
    MetricSpec,
    name=NAME,
    weight=NUMBER,
    artifact=TEXT,
    parameters=st.dictionaries(TEXT, JSON, max_size=3),
    label=TEXT,
    normalise=st.booleans(),
    clamp=st.builds(Clamp, st.none() | NUMBER, st.none() | NUMBER),
)
TASKS = st.builds(
    Task,
    preset=TEXT,
    description=TEXT,
    guidance=TEXT,
    goal=TEXT,
    reference=TEXT,
    world=TEXT,
    metadata=st.dictionaries(TEXT, TEXT, max_size=3),
)
SETUPS = st.builds(
    EvaluationSetup,
    task=TASKS,
    prefix=CONVERSATIONS,
    candidates=st.lists(TEXT, max_size=3).map(tuple),
    metrics=st.lists(SPECS, max_size=3).map(tuple),
    horizon_messages=COUNT,
    max_message_tokens=COUNT,
    budget=BUDGETS,
)
FAILURES = st.builds(
    Failure,
    family=st.sampled_from(Family),
    reason=st.sampled_from(Reason),
    message=TEXT,
    metadata=st.dictionaries(NAME, TEXT, max_size=3),
    violations=st.lists(st.builds(Violation, NAME, TEXT), max_size=2).map(tuple),
)
SCORES = st.builds(
    MetricScore,
    name=NAME,
    outcome=NUMBER | FAILURES,
    spread=st.none() | NUMBER,
    verdicts=st.lists(st.builds(Verdict, NUMBER, TEXT, TEXT), max_size=3).map(tuple),
    parts=st.dictionaries(TEXT, NUMBER, max_size=3),
)
# Wall times travel in whole nanoseconds of whole microseconds; these have an exact float.
SECONDS = st.integers(0, 2**30).map(lambda n: n / 64)
MODELS = st.builds(ModelUsage, MANY, MANY, MANY, MANY, MANY, MANY, dollars=NUMBER)
USAGES = st.builds(
    Usage,
    messages=COUNT,
    models=st.dictionaries(NAME, MODELS, max_size=3),
    seconds=SECONDS,
)
CONVERSATION_SCORES = st.builds(
    ConversationScores,
    id=IDS,
    scores=st.lists(SCORES, max_size=3).map(tuple),
    usage=USAGES,
    artifacts=st.lists(
        st.builds(Extracted, st.builds(Wanted, TEXT, TEXT), TEXT | FAILURES), max_size=3
    ).map(tuple),
)
INFOS = st.builds(
    MetricInfo,
    name=NAME,
    version=TEXT,
    range=st.none() | st.builds(Range, NUMBER, NUMBER),
    judge_calls=COUNT,
    metric=NAME,
    unit=TEXT,
    direction=st.sampled_from(Direction),
)


@given(SETUPS)
def test_a_setup_arrives_as_it_was_sent(setup: EvaluationSetup) -> None:
    wire = codec.encode_setup(setup).SerializeToString()
    assert codec.decode_setup(pb.EvaluationSetup.FromString(wire)) == setup


@given(st.builds(EvaluationItem, IDS, TEXT, CONVERSATIONS))
def test_a_conversation_arrives_as_it_was_sent(item: EvaluationItem) -> None:
    wire = codec.encode_item(item).SerializeToString()
    assert codec.decode_item(pb.ConversationItem.FromString(wire)) == item


@given(CONVERSATION_SCORES)
def test_scores_arrive_with_all_that_they_rest_on(scores: ConversationScores) -> None:
    wire = codec.encode_scores(scores).SerializeToString()
    assert codec.decode_scores(pb.ConversationScores.FromString(wire)) == scores


@given(INFOS)
def test_a_metric_arrives_as_it_is_applied(info: MetricInfo) -> None:
    wire = encode_info(info).SerializeToString()
    assert decode_info(metric_pb2.MetricInfo.FromString(wire)) == info
