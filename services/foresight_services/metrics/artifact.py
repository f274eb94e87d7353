"""Which text of a conversation a metric scores: an extracted artifact, or the last reply."""

from __future__ import annotations

from foresight_services.core.future import Wanted
from foresight_services.core.objective import MetricSpec
from foresight_services.core.subject import Subject
from foresight_services.core.task import Task
from foresight_services.metrics.definition import REQUIREMENT

METADATA_KEY = "extraction_requirement"
"""Where a task says what every extraction has to meet (CollabLLM's name for it)."""


def wanted_by(spec: MetricSpec, task: Task) -> Wanted | None:
    """Return what `spec` wants extracted; None where it scores what was said."""
    if not spec.artifact:
        return None
    own = spec.parameters.get(REQUIREMENT)
    requirement = str(own) if own else task.metadata.get(METADATA_KEY, "")
    return Wanted(spec.artifact, requirement)


async def scored_text(spec: MetricSpec, subject: Subject) -> str:
    """Return the artifact of `spec`, or without one the last message of the assistant."""
    wanted = wanted_by(spec, subject.task)
    if wanted is not None:
        return await subject.artifact(wanted)
    return next(m.content for m in reversed(subject.conversation) if m.role == "assistant")
