"""From specs to metrics, and every spec that is wrong."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import InvalidInput
from foresight_services.core.objective import MetricSpec
from foresight_services.metrics.catalog import METRICS, Catalog
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import evaluation_setup

CATALOG = Catalog(judge=ScriptedChat('{"success": 1}'))


def test_metrics_come_in_the_order_of_their_specs_each_with_its_parameters() -> None:
    specs = (
        MetricSpec("token_amount", parameters={"scope": "all", "tokenizer": "words"}),
        MetricSpec("success"),
        MetricSpec("messages"),
    )
    built = CATALOG.build(evaluation_setup(metrics=specs))
    assert [metric.info.name for metric in built] == ["token_amount", "success", "messages"]
    (default,) = CATALOG.build(evaluation_setup("token_amount"))
    assert built[0].info.range != default.info.range


def test_every_metric_is_known_by_its_own_name_and_has_a_version() -> None:
    for name in METRICS:
        (metric,) = CATALOG.build(evaluation_setup(name))
        assert metric.info.name == name
        assert metric.info.version


def test_every_parameters_every_value_is_accepted() -> None:
    for name, maker in METRICS.items():
        for key, values in maker.parameters.items():
            for value in values:
                spec = MetricSpec(name, parameters={key: value})
                assert len(CATALOG.build(evaluation_setup(metrics=(spec,)))) == 1


def test_everything_that_is_wrong_is_told_at_once() -> None:
    specs = (
        MetricSpec("sucess"),
        MetricSpec("messages", artifact="answer", parameters={"scope": "all"}),
        MetricSpec("token_amount", parameters={"scop": "all", "scope": "al", "tokenizer": 1.0}),
    )
    with pytest.raises(InvalidInput) as refused:
        CATALOG.build(evaluation_setup(metrics=specs))
    assert {v.field: v.description for v in refused.value.violations} == {
        "metrics[0].name": (
            "unknown 'sucess'; did you mean 'success'? (known: messages, success, token_amount)"
        ),
        "metrics[1].artifact": "'messages' scores the conversation itself",
        "metrics[1].parameters.scope": "takes no parameters",
        "metrics[2].parameters.scop": (
            "unknown 'scop'; did you mean 'scope'? (known: scope, tokenizer)"
        ),
        "metrics[2].parameters.scope": (
            "unknown 'al'; did you mean 'all'? (known: all, assistant, future)"
        ),
        "metrics[2].parameters.tokenizer": "must be one of ('words',)",
    }


def test_no_metric_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        CATALOG.build(evaluation_setup(metrics=()))
    assert [v.field for v in refused.value.violations] == ["metrics"]
