"""Fixtures of the tests of real servers."""

from __future__ import annotations

import pytest

from foresight_services.bootstrap import models
from tests.fakes.held import Held, HeldRules


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Let the test hold model calls of the services that it starts; by default none waits."""
    held = Held()
    rules = type("HeldRules", (HeldRules,), {"held": held})
    monkeypatch.setattr(models, "BuiltinModel", rules)
    return held
