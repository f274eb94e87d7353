"""What metrics work with: the sandbox, tokenizers and models of one process, each made once.

Nothing is loaded or started here; a metric gets ready what it needs when it is first asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from foresight_services.config import Config
from foresight_services.config.evaluator import SandboxConfig
from foresight_services.core.ports import Clock
from foresight_services.metrics.judging.judge import Judge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import ToolName, Tools
from foresight_services.reward_models.opening import open_bertscore, open_reward_model
from foresight_services.sandbox.code_sandbox import ProcessSandbox
from foresight_services.sandbox.settings import Isolation, SandboxSettings


class Workshop:
    """The tools of one process. Close it with `aclose`."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Prepare what the configuration names.

        Raises:
            InvalidInput: where a section cannot be used.
        """
        evaluator = config.evaluator
        self._sandbox = ProcessSandbox(_sandbox_settings(evaluator.sandbox))
        self._tokenizers = Tokenizers(evaluator.tokenizers)
        self._reward_models = {
            name: open_reward_model(name, section, clock=clock)
            for name, section in evaluator.reward_models.items()
        }
        self._bertscore = None
        if evaluator.bertscore is not None:
            self._bertscore = open_bertscore(evaluator.bertscore)

    def tools(self, judge: Judge, *, identities: Mapping[ToolName, str]) -> Tools:
        """Return the tools of metrics that ask `judge`; `identities` are their digests."""
        return Tools(
            judge=judge,
            token_counters=self._tokenizers,
            sandbox=self._sandbox,
            reward_models=self._reward_models,
            bertscore=self._bertscore,
            identities=identities,
        )

    async def aclose(self) -> None:
        """End what was started."""
        models = [*self._reward_models.values()]
        if self._bertscore is not None:
            await self._bertscore.aclose()
        await asyncio.gather(*(model.aclose() for model in models))


def _sandbox_settings(section: SandboxConfig) -> SandboxSettings:
    return SandboxSettings(
        isolation=Isolation(section.isolation),
        bwrap_path=section.bwrap_path or None,
        python=section.python or None,
        read_only_paths=tuple(section.read_only_paths),
        cpu_seconds=section.cpu_seconds,
        wall_seconds=section.wall_seconds,
        memory_mib=section.memory_mib,
        processes=section.processes,
        output_kib=section.output_kib,
        scratch_mib=section.scratch_mib,
        max_concurrency=section.max_concurrency,
    )
