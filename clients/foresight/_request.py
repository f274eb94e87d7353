"""Builds requests from plain mappings, strictly.

A mapping has the shape that users write in YAML or JSON: the contract's own field names. The
walk follows the message's descriptor, so a field that the contract gains needs no change here. It
collects every problem before it raises, each with the path of its field. It checks shape and type
alone; what values mean, such as how many candidates there may be, is the service's to judge.

Rules: `None` is an absent field, as data sets fill missing columns. A boolean is no number.
64-bit integers may be decimal strings, because JSON cannot carry them exactly. Numbers are finite.
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, Final, TypeGuard, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from foresight.errors import InvalidRequestError, Violation
from foresight.v1.reward_service_pb2 import ComputeRewardsRequest

__all__ = ["build_message", "build_request"]

M = TypeVar("M", bound=Message)

_INTEGERS: Final[Mapping[int, tuple[int, int]]] = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
_SHOWN: Final = 40
"""Greatest number of characters of a wrong value that an error quotes."""


def build_request(mapping: Mapping[str, object]) -> ComputeRewardsRequest:
    """Turn a request as a user writes it into the message of the contract.

    Args:
        mapping: Field names and values of `foresight.v1.ComputeRewardsRequest`, nested.

    Raises:
        InvalidRequestError: A key is unknown or a value has the wrong type; `violations` has all.
    """
    return build_message(ComputeRewardsRequest(), mapping)


def build_message(message: M, mapping: Mapping[str, object]) -> M:
    """Fill `message` of the contract from `mapping` and return it; see `build_request`."""
    problems: list[Violation] = []
    _fill(message, mapping, "", problems)
    if problems:
        raise InvalidRequestError.from_violations(problems)
    return message


class _WrongValueError(Exception):
    """A value does not fit its field; the text says what would."""


def _fill(message: Message, value: object, path: str, problems: list[Violation]) -> None:
    """Set the fields of `message` from the mapping `value`."""
    if not isinstance(value, Mapping):
        problems.append(Violation(path, f"expected a mapping, got {_show(value)}"))
        return
    fields: Mapping[str, Any] = message.DESCRIPTOR.fields_by_name
    for key, entry in value.items():
        field_path = f"{path}.{key}" if path else str(key)
        if not isinstance(key, str) or key not in fields:
            problems.append(Violation(field_path, _unknown(str(key), fields)))
        elif entry is not None:
            _set_field(message, fields[key], entry, field_path, problems)


def _set_field(
    message: Message,
    field: FieldDescriptor,
    value: object,
    path: str,
    problems: list[Violation],
) -> None:
    current = getattr(message, field.name)
    # What a field holds tells lists and maps apart; descriptors do so differently by version.
    if isinstance(current, MutableSequence):
        _extend(current, field, value, path, problems)
    elif field.message_type is None:
        try:
            setattr(message, field.name, _scalar(field, value))
        except _WrongValueError as wrong:
            problems.append(Violation(path, str(wrong)))
    elif isinstance(current, Struct):
        current.SetInParent()
        if isinstance(plain := _json(value, path, problems), dict):
            current.update(plain)
        elif plain is not None:
            problems.append(Violation(path, f"expected a mapping, got {_show(value)}"))
    elif isinstance(current, MutableMapping):
        _update(current, field.message_type.fields_by_name["value"], value, path, problems)
    else:
        current.SetInParent()
        _fill(current, value, path, problems)


def _extend(
    current: Any, field: FieldDescriptor, value: object, path: str, problems: list[Violation]
) -> None:
    """Append the entries of the list `value`."""
    if not _is_list(value):
        problems.append(Violation(path, f"expected a list, got {_show(value)}"))
        return
    for index, entry in enumerate(value):
        entry_path = f"{path}[{index}]"
        if field.message_type is not None:
            _fill(current.add(), entry, entry_path, problems)
            continue
        try:
            current.append(_scalar(field, entry))
        except _WrongValueError as wrong:
            problems.append(Violation(entry_path, str(wrong)))


def _update(
    current: Any, field: FieldDescriptor, value: object, path: str, problems: list[Violation]
) -> None:
    """Put the entries of the mapping `value`, whose keys are text."""
    if not isinstance(value, Mapping):
        problems.append(Violation(path, f"expected a mapping, got {_show(value)}"))
        return
    for key, entry in value.items():
        try:
            current[_text(key)] = _scalar(field, entry)
        except _WrongValueError as wrong:
            problems.append(Violation(f'{path}["{key}"]', str(wrong)))


def _scalar(field: FieldDescriptor, value: object) -> str | bool | int | float:
    """Return `value` as the scalar that `field` holds."""
    if field.type == FieldDescriptor.TYPE_STRING:
        if _is_list(value) and field.full_name == "foresight.v1.Message.content":
            raise _WrongValueError(
                "expected a string, got a list; content in parts, as of multimodal messages, "
                "is not supported"
            )
        return _text(value)
    if field.type == FieldDescriptor.TYPE_BOOL:
        if isinstance(value, bool):
            return value
        raise _WrongValueError(f"expected true or false, got {_show(value)}")
    if field.type in _INTEGERS:
        return _integer(field, value)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return _number(value)
    raise NotImplementedError(f"{field.full_name}: no rule for fields of type {field.type}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _WrongValueError(f"expected a string, got {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _WrongValueError(
            f"not valid Unicode text: a lone surrogate at character {error.start}"
        ) from None
    return value


def _integer(field: FieldDescriptor, value: object) -> int:
    low, high = _INTEGERS[field.type]
    if isinstance(value, str) and high >= 2**63 - 1 and re.fullmatch("-?[0-9]{1,100}", value):
        number = int(value)
    elif isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
    else:
        raise _WrongValueError(f"expected an integer, got {_show(value)}")
    if not low <= number <= high:
        raise _WrongValueError(f"must be an integer from {low} to {high}, got {_show(value)}")
    return number


def _number(value: object) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise _WrongValueError(f"expected a number, got {_show(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _WrongValueError(f"must be a finite number, got {_show(value)}")
    return number


def _json(value: object, path: str, problems: list[Violation]) -> object:
    """Return `value` as JSON has it; a wrong one is reported and becomes `None`."""
    if isinstance(value, Mapping):
        return {str(key): _json(entry, f"{path}.{key}", problems) for key, entry in value.items()}
    if _is_list(value):
        return [_json(entry, f"{path}[{index}]", problems) for index, entry in enumerate(value)]
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, numbers.Real):
            return _number(value)
        if isinstance(value, str):
            return _text(value)
        raise _WrongValueError(f"expected a value that JSON can carry, got {_show(value)}")
    except _WrongValueError as wrong:
        problems.append(Violation(path, str(wrong)))
        return None


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _unknown(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"unknown field; did you mean {near[0]!r}?"
    return f"unknown field; known ones are {', '.join(known)}"


def _show(value: object) -> str:
    """Name a wrong value in an error."""
    if isinstance(value, Mapping):
        return "a mapping"
    if _is_list(value):
        return "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
