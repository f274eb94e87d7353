"""The section of the configuration that describes the recording of model calls."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from foresight_services.config.section import Section


class RecordingConfig(Section):
    """A file that model calls are recorded to or replayed from; caches are off meanwhile."""

    path: Annotated[str, Field(min_length=1)]
    """The file; `{service}` in it stands for what the process serves, so that each has its own."""
    mode: Literal["record", "replay", "replay_or_record"]
    """`record` appends every call; `replay` asks no model; `replay_or_record` asks for what is
    new."""
