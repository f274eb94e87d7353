"""From a configuration to the recording of a process's model calls."""

from __future__ import annotations

from pathlib import Path

from foresight_services.config import Config
from foresight_services.core.errors import Precondition, Reason
from foresight_services.core.ports import ChatReply, ChatRequest, Clock
from foresight_services.core.published import PublishedPolicy, SourceKind
from foresight_services.models.published import OpenedModel, Openers
from foresight_services.models.published_sources import Decorate
from foresight_services.models.recording import Recording, open_recording


class OfflineModel:
    """Stands where a backend would, in a process that replays; implements the port `ChatModel`."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Fail: a replay asks no backend.

        Raises:
            Precondition: always.
        """
        raise Precondition(Reason.MODEL_REJECTED, "a replay asks no backend")


async def build_recording(config: Config, service: str, clock: Clock) -> Recording | None:
    """Return the recording of the process that serves `service`; None where none is configured.

    Raises:
        InvalidInput: where its file cannot be used.
    """
    settings = config.recording
    if settings is None:
        return None
    path = Path(settings.path.replace("{service}", service))
    return await open_recording(path, settings.mode, clock)


def offline_openers(decorate: Decorate) -> Openers:
    """Return what opens published versions where no backend is asked."""

    async def opened(policy: PublishedPolicy) -> OpenedModel:
        return OpenedModel(decorate(OfflineModel(), policy.source.location, policy), _nothing)

    return {kind: opened for kind in SourceKind}


async def _nothing() -> None:
    """Let go of nothing."""
