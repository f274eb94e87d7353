"""What every section of the configuration has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section: frozen, strict in its types, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
