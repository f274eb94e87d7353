"""A sandbox as in production: bubblewrap must be there, or the tests fail."""

import pytest

from foresight_services.sandbox.code_sandbox import ProcessSandbox
from foresight_services.sandbox.settings import SandboxSettings


@pytest.fixture(scope="module")
def sandbox() -> ProcessSandbox:
    return ProcessSandbox(SandboxSettings())
