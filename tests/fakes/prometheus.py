"""Reading what a service tells Prometheus."""

from __future__ import annotations

import asyncio
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a sample; 0 where it was never written."""
        return self._values.get((name, frozenset(labels.items())), 0.0)

    def samples(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Return the name and the labels of every sample."""
        return set(self._values)

    def labels(self, name: str) -> set[frozenset[tuple[str, str]]]:
        """Return the labels of every sample called `name`."""
        return {labels for known, labels in self._values if known == name}


async def scrape(address: str | None) -> Scrape:
    """Return what the metrics endpoint at `address` tells now."""
    assert address is not None

    def read() -> str:
        with urlopen(f"http://{address}/metrics", timeout=60) as response:
            return response.read().decode()

    return Scrape(await asyncio.to_thread(read))
