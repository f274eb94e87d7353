"""From a configuration to an evaluator: its judge, its tools, its metrics."""

from __future__ import annotations

from foresight_services.bootstrap.identity import tool_identities
from foresight_services.bootstrap.models import Models
from foresight_services.config import Config
from foresight_services.core.evaluation import Evaluation
from foresight_services.core.ports import Clock
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools


def build_evaluator(config: Config, clock: Clock, models: Models) -> Evaluation:
    """Return the evaluator of this process.

    Raises:
        InvalidInput: where something that the configuration names cannot be used.
    """
    judge, extractor = models.judge()
    tools = Tools(
        judge=judge,
        token_counters=Tokenizers(config.evaluator.tokenizers),
        identities=tool_identities(config, judge),
    )
    return Evaluation(catalog=Catalog(tools=tools), extractor=extractor, clock=clock)
