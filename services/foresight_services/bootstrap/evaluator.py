"""From a configuration to an evaluator: its judge, its tools, its metrics."""

from __future__ import annotations

from collections.abc import Mapping

from foresight_services.bootstrap.identity import tool_identities
from foresight_services.bootstrap.models import Models
from foresight_services.bootstrap.tools import Workshop
from foresight_services.config import Config
from foresight_services.core.evaluation import Evaluation
from foresight_services.core.ports import Clock, Evaluator
from foresight_services.core.routing import Remote, RoutedEvaluator, owners
from foresight_services.metrics.catalog import SHIPPED, Catalog
from foresight_services.metrics.plugins import load_definitions


def build_evaluator(
    config: Config,
    clock: Clock,
    models: Models,
    *,
    workshop: Workshop | None = None,
    remotes: Mapping[str, Evaluator] | None = None,
) -> Evaluator:
    """Return the evaluator of this process.

    Args:
        config: the configuration.
        clock: the clock that deadlines are in.
        models: the models of this process.
        workshop: the tools of this process, which the caller closes.
        remotes: the other evaluators that score some metrics, by their names.

    Raises:
        InvalidInput: where something that the configuration names cannot be used.
    """
    judge, extractor = models.judge()
    definitions = load_definitions(SHIPPED, enabled=config.evaluator.plugins)
    elsewhere = {name: tuple(remote.metrics) for name, remote in config.evaluator.remotes.items()}
    owners(elsewhere)  # so that a metric with two owners is found before anything starts
    tools = (workshop or Workshop(config, clock)).tools(
        judge, identities=tool_identities(config, judge)
    )
    catalog = Catalog(tools=tools, definitions=definitions)
    local = Evaluation(catalog=catalog, extractor=extractor, clock=clock)
    if not remotes:
        return local
    others = {name: Remote(remotes[name], metrics) for name, metrics in elsewhere.items()}
    return RoutedEvaluator(local, others, local_names=definitions, clock=clock)
