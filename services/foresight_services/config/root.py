"""The configuration as a whole, and its sections but those of the models."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from foresight_services.config.cache import CacheConfig
from foresight_services.config.evaluator import EvaluatorConfig, TranscriptName
from foresight_services.config.models import BuiltinModelConfig, ModelConfig, PriceConfig
from foresight_services.config.recording import RecordingConfig
from foresight_services.config.section import Section
from foresight_services.config.target import Target
from foresight_services.worlds.world import TERMINATION_SIGNAL


def _host_and_port(text: str) -> str:
    match = re.fullmatch(r"\S+:([0-9]{1,5})", text)
    if match is None or int(match[1]) > 65_535:
        raise PydanticCustomError("address", "must be `host:port`, the port 0 to 65535")
    return text


def _address(text: str) -> str:
    return text if re.fullmatch(r"unix:\S+", text) else _host_and_port(text)


HostAndPort = Annotated[str, AfterValidator(_host_and_port)]
"""`host:port`, port 0 for any free one."""

Address = Annotated[str, AfterValidator(_address)]
"""`host:port`, port 0 for any free one, or `unix:path`."""

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class RolesConfig(Section):
    """Which of `models` plays which part; policies are chosen by each request."""

    user: str = "user"
    """The user simulator."""
    judge: str = "judge"
    """The judge of the metrics that need one."""


class TwentyQuestionsConfig(Section):
    """The world 20 Questions."""

    error_rate: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Probability that the user answers a question wrongly."""
    knowledge_path: str = ""
    """Knowledge base to play with, in the format of the one that ships. Default: that one."""


class WorldsConfig(Section):
    """Settings of the builtin worlds."""

    twenty_questions: TwentyQuestionsConfig = TwentyQuestionsConfig()
    """The world 20 Questions."""


class SimulatorConfig(Section):
    """How futures are simulated."""

    termination_signal: Annotated[str, Field(min_length=1)] = TERMINATION_SIGNAL
    """Text by which the user ends a conversation; it counts in user messages only."""
    max_futures: Annotated[int, Field(ge=1)] = 8192
    """Futures simulated at once; more wait in line."""
    max_waiting_futures: Annotated[int, Field(ge=0)] = 262_144
    """Futures that may wait in line; a request whose futures do not fit is refused at once.
    Default: as many as one request may ask for."""
    personas_path: str = ""
    """Personas of the simulated user, in the format of those that ship. Default: those."""
    on_context_exhausted: Literal["score", "exclude"] = "score"
    """What becomes of a future that no longer fits into a model's context: it is scored as far as
    it came, or it fails."""
    max_idle_policies: Annotated[int, Field(ge=0)] = 4
    """Published versions that stay open though no request uses them."""
    lora_load_timeout_seconds: Seconds = 120.0
    """Time that loading a published LoRA adapter may take."""
    transcript: TranscriptName = "blocks"
    """How the conversation is shown to the simulated user."""


class TlsConfig(Section):
    """TLS between services and towards callers."""

    certificate_path: str
    """PEM file with the server's certificate chain."""
    key_path: str
    """PEM file with the server's private key."""
    ca_path: str
    """PEM file with the certificates that peers are checked against."""
    require_client_certificate: bool = False
    """Whether callers must show a certificate of `ca_path` (mutual TLS)."""


class ServiceConfig(Section):
    """Where one service listens and where the others find it."""

    listen: Address
    """Address that gRPC listens on."""
    metrics: HostAndPort | None
    """`host:port` of the Prometheus endpoint; null for none."""
    target: Target = ""
    """Where the reward service finds it: a gRPC target such as `dns:///simulator:50052`, or the
    addresses of its replicas, such as `10.0.0.1:50052,10.0.0.2:50052`. Default: the address that
    it listens on."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that share the port. The reward service opens several connections to each."""


class ServicesConfig(Section):
    """Addresses of the three services; loopback unless told otherwise."""

    reward: ServiceConfig = ServiceConfig(listen="127.0.0.1:50051", metrics="127.0.0.1:9464")
    """The front door; `serve all` listens here alone."""
    simulator: ServiceConfig = ServiceConfig(listen="127.0.0.1:50052", metrics="127.0.0.1:9465")
    """Plays conversations."""
    evaluator: ServiceConfig = ServiceConfig(listen="127.0.0.1:50053", metrics="127.0.0.1:9466")
    """Judges conversations."""
    tls: TlsConfig | None = None
    """TLS for all three. Default: none."""
    drain_notice_seconds: Seconds = 1.0
    """Time between NOT_SERVING and refusing new calls, so that balancers can turn away."""
    drain_grace_seconds: Seconds = 60.0
    """Time that calls in flight are given to finish after SIGTERM."""
    max_connection_age_seconds: Annotated[float, Field(ge=1, le=86_400)] | None = None
    """Age at which a caller is asked to connect anew, so that it finds new replicas; calls in
    flight are let finish. Default: no limit."""
    deadline_margin_seconds: Seconds = 0.05
    """Time before the caller's deadline, and 0.2 ms more for each future asked for, at which the
    best estimate so far is returned."""


def _default_models() -> dict[str, ModelConfig]:
    models: dict[str, ModelConfig] = {
        name: BuiltinModelConfig(backend="builtin") for name in ("policy", "user", "judge")
    }
    skills = ("guesser", "asker", "informed", "assumer", "interrogator", "focused")
    return models | {name: BuiltinModelConfig(backend="builtin", skill=name) for name in skills}


class Config(Section):
    """Everything that an operator can set."""

    models: Annotated[dict[str, ModelConfig], Field(min_length=1)] = Field(
        default_factory=_default_models
    )
    """Models by name; each can be the policy of a request. Default: the builtin worlds' rules."""
    roles: RolesConfig = RolesConfig()
    """Which model plays the user and the judge."""
    worlds: WorldsConfig = WorldsConfig()
    """Settings of the builtin worlds."""
    simulator: SimulatorConfig = SimulatorConfig()
    """How futures are simulated."""
    tasks_path: str = ""
    """Folder of one's own scenarios, in the format of those that ship. Default: none."""
    evaluator: EvaluatorConfig = EvaluatorConfig()
    """How conversations are scored."""
    prompts: dict[str, str] = {}
    """Files that replace prompts, by the prompt's name, such as `user_system`."""
    prices: dict[str, PriceConfig] = {}
    """Prices by model, or by `beginning*` of its name, in place of the table's."""
    cache: CacheConfig = CacheConfig()
    """Where futures and scores are remembered. Default: in the reward service's memory."""
    services: ServicesConfig = ServicesConfig()
    """Addresses, TLS and time limits."""
    recording: RecordingConfig | None = None
    """A file that model calls are recorded to or replayed from. Default: none."""
    token: SecretStr | None = Field(default=None, exclude=True)
    """Secret that calls must carry; from the environment only."""
