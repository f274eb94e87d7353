"""Runs in an environment that has the client only: imports all of it and uses its messages."""

import importlib
import importlib.util
import pkgutil
import sys

import foresight
from foresight.v1 import conversation_pb2, reward_service_pb2

SERVICES_ONLY = {
    "aiohttp",
    "litellm",
    "prometheus_client",
    "pydantic",
    "redis",
    "rich",
    "torch",
    "typer",
    "uvloop",
    "vllm",
    "yaml",
}

installed = {name for name in SERVICES_ONLY if importlib.util.find_spec(name)}
assert not installed, f"the client depends on {installed}"

modules = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(foresight.__path__, "foresight.")
]
assert "foresight_services" not in sys.modules, "the client imports the services"

stubs = [module for module in modules if module.__name__.endswith("_pb2")]
assert len(stubs) >= 6, stubs
for module in stubs:
    for name in module.DESCRIPTOR.message_types_by_name:
        message = getattr(module, name)
        assert message.FromString(message().SerializeToString()) == message()

request = reward_service_pb2.ComputeRewardsRequest(
    prefix=[conversation_pb2.Message(role="user", content="¿Qué tal?")],
    candidates=["Bien.", "Fine."],
)
assert type(request).FromString(request.SerializeToString()) == request
