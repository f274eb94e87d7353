"""The one configuration file, decoded strictly into frozen types.

`foresight.yaml` holds everything but secrets. An unknown key, a wrong type and a name that leads
nowhere are errors that give the path of the field and what would be right. The environment holds
`FORESIGHT_CONFIG`, the file's path, and `FORESIGHT_TOKEN`, the secret that calls must carry; any
other `FORESIGHT_` variable is an error, because it was meant to do something.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.suggest import nearest, one_of
from foresight_services.worlds.world import TERMINATION_SIGNAL

ENVIRONMENT: Final = {
    "FORESIGHT_CONFIG": "path of the configuration file",
    "FORESIGHT_TOKEN": "secret that every call must carry",
}
"""Every environment variable that is read."""


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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BuiltinModelConfig(_Section):
    """Rules of a builtin world in place of a model."""

    backend: Literal["builtin"]
    """Kind of backend."""
    skill: str = ""
    """Policy only: how well it plays. Default: the strongest skill of the task's world."""


class RolesConfig(_Section):
    """Which of `models` plays which part; policies are chosen by each request."""

    user: str = "user"
    """The user simulator."""
    judge: str = "judge"
    """The judge of the metrics that need one."""


class TwentyQuestionsConfig(_Section):
    """The world 20 Questions."""

    error_rate: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Probability that the user answers a question wrongly."""
    knowledge_path: str = ""
    """Knowledge base to play with, in the format of the one that ships. Default: that one."""


class WorldsConfig(_Section):
    """Settings of the builtin worlds."""

    twenty_questions: TwentyQuestionsConfig = TwentyQuestionsConfig()
    """The world 20 Questions."""


class SimulatorConfig(_Section):
    """How futures are simulated."""

    termination_signal: Annotated[str, Field(min_length=1)] = TERMINATION_SIGNAL
    """Text by which the user ends a conversation; it counts in user messages only."""
    max_futures: Annotated[int, Field(ge=1)] = 8192
    """Futures simulated at once; more wait in line."""


class TlsConfig(_Section):
    """TLS between services and towards callers."""

    certificate_path: str
    """PEM file with the server's certificate chain."""
    key_path: str
    """PEM file with the server's private key."""
    ca_path: str
    """PEM file with the certificates that peers are checked against."""
    require_client_certificate: bool = False
    """Whether callers must show a certificate of `ca_path` (mutual TLS)."""


class ServiceConfig(_Section):
    """Where one service listens and where the others find it."""

    listen: Address
    """Address that gRPC listens on."""
    metrics: HostAndPort | None
    """`host:port` of the Prometheus endpoint; null for none."""
    target: str = ""
    """Where the reward service finds it, a gRPC target. Default: the address it listens on."""


class ServicesConfig(_Section):
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
    deadline_margin_seconds: Seconds = 0.05
    """Time before the caller's deadline, and 0.2 ms more for each future asked for, at which the
    best estimate so far is returned."""


def _default_models() -> dict[str, BuiltinModelConfig]:
    models = {name: BuiltinModelConfig(backend="builtin") for name in ("policy", "user", "judge")}
    skills = ("guesser", "asker", "informed", "assumer", "interrogator", "focused")
    return models | {name: BuiltinModelConfig(backend="builtin", skill=name) for name in skills}


class Config(_Section):
    """Everything that an operator can set."""

    models: Annotated[dict[str, BuiltinModelConfig], Field(min_length=1)] = Field(
        default_factory=_default_models
    )
    """Models by name; each can be the policy of a request. Default: the builtin worlds' rules."""
    roles: RolesConfig = RolesConfig()
    """Which model plays the user and the judge."""
    worlds: WorldsConfig = WorldsConfig()
    """Settings of the builtin worlds."""
    simulator: SimulatorConfig = SimulatorConfig()
    """How futures are simulated."""
    services: ServicesConfig = ServicesConfig()
    """Addresses, TLS and time limits."""
    token: SecretStr | None = Field(default=None, exclude=True)
    """Secret that calls must carry; from the environment only."""


def load_config(path: Path | None, environment: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in `path`, or the default one, with the environment's secrets.

    Raises:
        InvalidInput: with every field or variable that is wrong.
    """
    environment = os.environ if environment is None else environment
    unknown = [
        Violation(name, one_of(name, ENVIRONMENT))
        for name in sorted(environment)
        if name.startswith("FORESIGHT_") and name not in ENVIRONMENT
    ]
    if unknown:
        raise InvalidInput(tuple(unknown))
    if path is None and environment.get("FORESIGHT_CONFIG"):
        path = Path(environment["FORESIGHT_CONFIG"])
    config = Config() if path is None else parse_config(_read(path))
    token = environment.get("FORESIGHT_TOKEN")
    return config.model_copy(update={"token": SecretStr(token) if token else None})


def parse_config(text: str) -> Config:
    """Return the configuration that `text`, a YAML document, describes."""
    try:
        document = yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise InvalidInput((Violation("(file)", f"is not YAML: {_one_line(error)}"),)) from error
    except RecursionError as error:
        raise InvalidInput((Violation("(file)", "is nested too deeply"),)) from error
    if document is None:
        document = {}
    if isinstance(document, dict) and "token" in document:
        problem = "is a secret; set the environment variable FORESIGHT_TOKEN instead"
        raise InvalidInput((Violation("token", problem),))
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(tuple(_violations(error))) from error
    missing = [
        Violation(f"roles.{role}", one_of(name, config.models))
        for role, name in config.roles
        if name not in config.models
    ]
    if missing:
        raise InvalidInput(tuple(missing))
    return config


class _StrictLoader(yaml.SafeLoader):
    """Reads YAML; a key that occurs twice, of which YAML would keep the last, is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [
            self.construct_object(key, deep=True)
            for key, _ in node.value
            if key.tag != "tag:yaml.org,2002:merge"
        ]
        twice = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"found the key {twice!r} twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read: {_one_line(error)}"
        raise InvalidInput((Violation(str(path), problem),)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _violations(error: ValidationError) -> Iterator[Violation]:
    for problem in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in problem["loc"]) or "(file)"
        if problem["type"] == "extra_forbidden":
            key = str(problem["loc"][-1])
            known = _known_keys(problem["loc"][:-1])
            close = nearest(key, known)
            hint = f"; did you mean {close!r}?" if close else ""
            yield Violation(path, f"unknown key{hint} (known: {', '.join(known)})")
        elif problem["type"] == "model_type":
            known = _known_keys(problem["loc"])
            yield Violation(path, f"must be a mapping (known keys: {', '.join(known)})")
        else:
            yield Violation(path, problem["msg"][:1].lower() + problem["msg"][1:])


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the section at `location` knows."""
    kind: Any = Config
    for part in location:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            kind = kind.model_fields[part].annotation
        if isinstance(kind, UnionType):
            kind = next(option for option in get_args(kind) if option is not NoneType)
    return sorted(name for name in kind.model_fields if name != "token")
