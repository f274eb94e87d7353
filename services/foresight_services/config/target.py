"""Where another service is found, as configurations write it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from foresight._channel import grpc_target


def _target(text: str) -> str:
    try:
        grpc_target(text)
    except ValueError as error:
        raise PydanticCustomError("target", "{problem}", {"problem": str(error)}) from None
    return text


Target = Annotated[str, AfterValidator(_target)]
"""A gRPC target, or addresses with commas between them."""
