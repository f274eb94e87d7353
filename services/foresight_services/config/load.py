"""From a file and the environment to a configuration, or to every field that is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, get_args, get_origin

import yaml
from pydantic import SecretStr, ValidationError

from foresight_services.config.root import Config
from foresight_services.config.section import Section
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.suggest import nearest, one_of

ENVIRONMENT: Final = {
    "FORESIGHT_CONFIG": "path of the configuration file",
    "FORESIGHT_TOKEN": "secret that every call must carry",
}
"""Every environment variable that is read."""


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
    return with_secrets(config, environment)


def with_secrets(config: Config, environment: Mapping[str, str]) -> Config:
    """Return `config` with the secrets of `environment`."""
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
        path, kind = _place(problem["loc"])
        match problem["type"]:
            case "extra_forbidden":
                _, section = _place(problem["loc"][:-1])
                known = _known_keys(section)
                close = nearest(str(problem["loc"][-1]), known)
                hint = f"; did you mean {close!r}?" if close else ""
                yield Violation(path, f"unknown key{hint} (known: {', '.join(known)})")
            case "model_type":
                known = _known_keys(kind)
                yield Violation(path, f"must be a mapping (known keys: {', '.join(known)})")
            case "model_attributes_type":
                known = sorted(_tags(kind))
                problem_here = "must be a mapping that names its `backend`"
                yield Violation(path, f"{problem_here} (known: {', '.join(known)})")
            case "union_tag_invalid":
                yield Violation(f"{path}.backend", one_of(problem["ctx"]["tag"], _tags(kind)))
            case "union_tag_not_found":
                known = sorted(_tags(kind))
                yield Violation(f"{path}.backend", f"is missing (known: {', '.join(known)})")
            case _:
                yield Violation(path, problem["msg"][:1].lower() + problem["msg"][1:])


def _place(location: tuple[int | str, ...]) -> tuple[str, Any]:
    """Return the path of `location` as the file has it, and the type that stands there."""
    kind: Any = Config
    path: list[str] = []
    for part in location:
        tags = _tags(kind)
        if str(part) in tags:
            # Which kind of model it is says another field; the file has no level for it.
            kind = tags[str(part)]
            continue
        path.append(str(part))
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif isinstance(kind, type) and issubclass(kind, Section) and part in kind.model_fields:
            kind = kind.model_fields[str(part)].annotation
        if isinstance(kind, UnionType):
            kind = next(option for option in get_args(kind) if option is not NoneType)
    return ".".join(path) or "(file)", kind


def _tags(kind: Any) -> dict[str, type[Section]]:
    """Return the sections that a model's section can be, by their `backend`."""
    if get_origin(kind) is not Annotated:
        return {}
    options = get_args(get_args(kind)[0])
    return {get_args(o.model_fields["backend"].annotation)[0]: o for o in options}


def _known_keys(section: Any) -> list[str]:
    return sorted(name for name in section.model_fields if name != "token")
