"""The page on metrics tells of every metric that ships, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

from foresight_services.metrics.catalog import SHIPPED

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_every_metric_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(SHIPPED)
