"""Requests from mappings: what is taken, and what is refused at which path."""

import math
from fractions import Fraction

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict

from foresight import InvalidRequestError, build_request
from foresight.v1.reward_service_pb2 import ComputeRewardsRequest

NAN, INF = math.nan, math.inf
INT32 = "must be an integer from -2147483648 to 2147483647"
UINT64 = "must be an integer from 0 to 18446744073709551615"


def metric(**fields):
    return {"objective": {"metrics": [{"name": "success", **fields}]}}


def simulation(**fields):
    return {"simulation": fields}


WRONG = [
    # Unknown fields, at every depth.
    ({"taks": {}}, "taks", "unknown field; did you mean 'task'?"),
    ({"task": {"gaol": "x"}}, "task.gaol", "unknown field; did you mean 'goal'?"),
    ({"task": {"Goal": "x"}}, "task.Goal", "unknown field; did you mean 'goal'?"),
    (
        {"prefix": [{"role": "user", "contents": "x"}]},
        "prefix[0].contents",
        "unknown field; did you mean 'content'?",
    ),
    (
        {"prefix": [{"zzz": 1}]},
        "prefix[0].zzz",
        "unknown field; known ones are role, content",
    ),
    ({"task": {1: "x"}}, "task.1", "unknown field; known ones are preset, description, "
     "guidance, goal, reference, world, metadata"),
    (metric(wieght=1), "objective.metrics[0].wieght", "unknown field; did you mean 'weight'?"),
    (
        simulation(horizon=4),
        "simulation.horizon",
        "unknown field; did you mean 'horizon_messages'?",
    ),
    (
        simulation(samples={"minimum": 1}),
        "simulation.samples.minimum",
        "unknown field; did you mean 'min'?",
    ),
    (
        simulation(policy={"nmae": "p"}),
        "simulation.policy.nmae",
        "unknown field; did you mean 'name'?",
    ),
    # Text.
    ({"task": {"goal": 3}}, "task.goal", "expected a string, got 3"),
    ({"task": {"goal": b"x"}}, "task.goal", "expected a string, got b'x'"),
    ({"task": {"goal": {"text": "x"}}}, "task.goal", "expected a string, got a mapping"),
    ({"request_id": 7}, "request_id", "expected a string, got 7"),
    ({"candidates": ["x", None]}, "candidates[1]", "expected a string, got None"),
    ({"candidates": ["x", ["y"]]}, "candidates[1]", "expected a string, got a list"),
    (
        {"candidates": ["ab\ud800"]},
        "candidates[0]",
        "not valid Unicode text: a lone surrogate at character 2",
    ),
    ({"task": {"goal": ["x" * 99]}}, "task.goal", "expected a string, got a list"),
    (
        {"prefix": [{"role": "user", "content": "x"}, {"content": [{"type": "image_url"}]}]},
        "prefix[1].content",
        "expected a string, got a list; content in parts, as of multimodal messages, is not "
        "supported",
    ),
    # Lists and mappings.
    ({"task": "math"}, "task", "expected a mapping, got 'math'"),
    ({"task": ["math"]}, "task", "expected a mapping, got a list"),
    ({"prefix": "Hello"}, "prefix", "expected a list, got 'Hello'"),
    ({"prefix": {"role": "user"}}, "prefix", "expected a list, got a mapping"),
    ({"prefix": ["Hello"]}, "prefix[0]", "expected a mapping, got 'Hello'"),
    ({"candidates": "x = 2."}, "candidates", "expected a list, got 'x = 2.'"),
    ({"candidates": 2}, "candidates", "expected a list, got 2"),
    ({"objective": {"metrics": {"name": "success"}}}, "objective.metrics",
     "expected a list, got a mapping"),
    (simulation(samples=3), "simulation.samples", "expected a mapping, got 3"),
    ({"task": {"metadata": ["x"]}}, "task.metadata", "expected a mapping, got a list"),
    ({"task": {"metadata": {"k": 1}}}, 'task.metadata["k"]', "expected a string, got 1"),
    ({"task": {"metadata": {1: "v"}}}, 'task.metadata["1"]', "expected a string, got 1"),
    # Integers.
    (simulation(horizon_messages="four"), "simulation.horizon_messages",
     "expected an integer, got 'four'"),
    (simulation(horizon_messages="4"), "simulation.horizon_messages",
     "expected an integer, got '4'"),
    (simulation(horizon_messages=4.0), "simulation.horizon_messages",
     "expected an integer, got 4.0"),
    (simulation(horizon_messages=True), "simulation.horizon_messages",
     "expected an integer, got True"),
    (simulation(horizon_messages=2**31), "simulation.horizon_messages",
     f"{INT32}, got 2147483648"),
    (simulation(samples={"max": -(2**31) - 1}), "simulation.samples.max",
     f"{INT32}, got -2147483649"),
    (simulation(seed=-1), "simulation.seed", f"{UINT64}, got -1"),
    (simulation(seed=2**64), "simulation.seed", f"{UINT64}, got 18446744073709551616"),
    (simulation(seed=False), "simulation.seed", "expected an integer, got False"),
    (simulation(policy={"version": "v12"}), "simulation.policy.version",
     "expected an integer, got 'v12'"),
    (simulation(policy={"version": "-1"}), "simulation.policy.version", f"{UINT64}, got '-1'"),
    # Numbers.
    (metric(weight=NAN), "objective.metrics[0].weight", "must be a finite number, got nan"),
    (metric(weight=-INF), "objective.metrics[0].weight", "must be a finite number, got -inf"),
    (metric(weight=10**400), "objective.metrics[0].weight",
     f"must be a finite number, got {'1' + '0' * 39}…"),
    (metric(weight="1"), "objective.metrics[0].weight", "expected a number, got '1'"),
    (metric(weight=True), "objective.metrics[0].weight", "expected a number, got True"),
    (metric(clamp={"min": NAN}), "objective.metrics[0].clamp.min",
     "must be a finite number, got nan"),
    (metric(clamp=[0, 1]), "objective.metrics[0].clamp", "expected a mapping, got a list"),
    (metric(clamp={"low": 0}), "objective.metrics[0].clamp.low",
     "unknown field; known ones are min, max"),
    ({"objective": {"clamp": {"max": "1"}}}, "objective.clamp.max", "expected a number, got '1'"),
    (metric(label=1), "objective.metrics[0].label", "expected a string, got 1"),
    (simulation(personas="busy"), "simulation.personas", "expected a list, got 'busy'"),
    # Booleans.
    (metric(normalise=1), "objective.metrics[0].normalise", "expected true or false, got 1"),
    ({"include_futures": 1}, "include_futures", "expected true or false, got 1"),
    ({"include_futures": "yes"}, "include_futures", "expected true or false, got 'yes'"),
    # A metric's own parameters.
    (metric(parameters=[1]), "objective.metrics[0].parameters", "expected a mapping, got a list"),
    (metric(parameters="x"), "objective.metrics[0].parameters", "expected a mapping, got 'x'"),
    (metric(parameters={"a": [{"b": NAN}]}), "objective.metrics[0].parameters.a[0].b",
     "must be a finite number, got nan"),
    (metric(parameters={"a": {1}}), "objective.metrics[0].parameters.a",
     "expected a value that JSON can carry, got {1}"),
]  # fmt: skip


@pytest.mark.parametrize(("mapping", "field", "description"), WRONG)
def test_a_wrong_field_is_named(mapping, field, description):
    with pytest.raises(InvalidRequestError) as caught:
        build_request(mapping)
    (violation,) = caught.value.violations
    assert (violation.field, violation.description) == (field, description)
    assert str(caught.value) == f"{field}: {description}"
    assert caught.value.reason == "INVALID_REQUEST"


def test_all_problems_are_reported_at_once():
    with pytest.raises(InvalidRequestError) as caught:
        build_request(
            {
                "task": {"gaol": "x", "reference": 2},
                "candidates": ["x", 2],
                "simulation": {"seed": -1},
            }
        )
    assert [violation.field for violation in caught.value.violations] == [
        "task.gaol",
        "task.reference",
        "candidates[1]",
        "simulation.seed",
    ]
    assert str(caught.value).startswith("4 problems:\n  task.gaol: unknown field;")


def test_what_is_not_a_mapping_at_all():
    with pytest.raises(InvalidRequestError, match="^expected a mapping, got a list$"):
        build_request([])  # type: ignore[arg-type]


def test_a_request_as_users_write_it():
    mapping = {
        "task": {
            "preset": "math",
            "goal": "Find the positive x with x^2 + x = 6.",
            "reference": "2",
            "metadata": {"level": "easy"},
        },
        "prefix": [{"role": "user", "content": "can you help me?"}],
        "candidates": ["Sure!", "x = 2."],
        "objective": {
            "profile": "release",
            "metrics": [
                {"name": "accuracy", "weight": 1, "artifact": "answer"},
                {"name": "token_amount", "weight": -0.5},
                {"name": "bleu", "parameters": {"n": 4, "deep": [None, True, {"a": "b"}]}},
            ],
        },
        "simulation": {
            "horizon_messages": 4,
            "samples": {"min": 3, "max": 3},
            "seed": 7,
            "policy": {"name": "policy", "version": "12"},
        },
        "include_futures": True,
    }
    request = build_request(mapping)
    assert request == ParseDict(mapping, ComputeRewardsRequest())
    assert request.simulation.policy.version == 12
    assert request.objective.metrics[2].parameters["n"] == 4.0
    assert build_request({"candidates": ("Sure!", "x = 2.")}).candidates == request.candidates


def test_an_objective_of_ones_own():
    mapping = {
        "objective": {
            "profile": "custom",
            "metrics": [
                {"name": "rubric", "label": "clear", "normalise": True, "clamp": {"min": -1}},
                {"name": "token_amount", "clamp": {"min": -0.5, "max": 0}},
            ],
            "clamp": {"max": 2},
        },
        "simulation": {"personas": ["busy", "shy"]},
    }
    request = build_request(mapping)
    assert request == ParseDict(mapping, ComputeRewardsRequest())
    first, second = request.objective.metrics
    assert (first.label, first.normalise, second.normalise) == ("clear", True, False)
    # A limit of 0 is one, an absent one is none.
    assert second.clamp.HasField("max")
    assert not first.clamp.HasField("max")
    assert not second.HasField("parameters")
    assert list(request.simulation.personas) == ["busy", "shy"]


def test_presence_is_kept():
    empty = build_request({"simulation": {}, "objective": {"metrics": [{"parameters": {}}]}})
    assert empty.HasField("simulation")
    assert not empty.simulation.HasField("horizon_messages")
    assert empty.objective.metrics[0].HasField("parameters")
    zero = build_request(simulation(horizon_messages=0, seed="0"))
    assert zero.simulation.HasField("horizon_messages")
    assert zero.simulation.HasField("seed")


def test_none_is_an_absent_field():
    request = build_request(
        {
            "task": {"goal": "x", "reference": None, "metadata": None},
            "prefix": None,
            "objective": None,
            "simulation": {"samples": None, "seed": None},
        }
    )
    expected = {"task": {"goal": "x"}, "simulation": {}}
    assert request == ParseDict(expected, ComputeRewardsRequest())


def test_numbers_of_other_types_are_taken():
    request = build_request(metric(weight=Fraction(1, 4)))
    assert request.objective.metrics[0].weight == 0.25
    request = build_request(simulation(seed=2**64 - 1))
    assert request.simulation.seed == 2**64 - 1


def test_meaning_is_left_to_the_service():
    assert build_request({}) == ComputeRewardsRequest()
    assert build_request({"candidates": []}) == ComputeRewardsRequest()


def test_every_field_of_the_contract_has_a_rule():
    seen = set()

    def types(descriptor):
        for field in descriptor.fields:
            if field.message_type is None:
                seen.add(field.type)
            elif field.message_type.full_name != "google.protobuf.Struct":
                types(field.message_type)

    types(ComputeRewardsRequest.DESCRIPTOR)
    assert seen <= {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
    }
