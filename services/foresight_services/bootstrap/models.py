"""The models of a process: each built once from the configuration, with all its decorators.

From the outside in: role prompt (renders and parses), shared calls, meter, recording, retries,
hedging, budget, breaker, limits, backend. Breaker, limits and the retries' budget belong to a
place, the server or engine that is asked: every role and every version of a policy at one place
shares them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from foresight_services.bootstrap.backends import Backend, Backends
from foresight_services.bootstrap.prompts import prompt_files
from foresight_services.bootstrap.recording import OfflineModel, offline_openers
from foresight_services.config import BuiltinModelConfig, Config
from foresight_services.config.models import ServedModelConfig
from foresight_services.core.ports import ChatModel, Clock, Extractor, ModelRole, Telemetry
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.task import PolicyRef
from foresight_services.core.transcript import STYLES
from foresight_services.metrics.extraction import NoExtractor, PromptedExtractor
from foresight_services.metrics.judging.judge import Judge
from foresight_services.metrics.judging.prompted import (
    PromptedJudge,
    PromptedJudgeSettings,
    load_judge_prompts,
)
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.models.adaptive_limit import AdaptiveSettings
from foresight_services.models.breaker import BreakerModel, BreakerSettings
from foresight_services.models.budgeted import BudgetedModel
from foresight_services.models.builtin import BuiltinModel
from foresight_services.models.directory import ConfiguredPolicies
from foresight_services.models.gated import Gate, GatedModel
from foresight_services.models.hedging import HedgedModel, HedgeSettings
from foresight_services.models.limits import LimitedModel, LimitSettings
from foresight_services.models.metered import MeteredModel
from foresight_services.models.pricing import Price, load_prices
from foresight_services.models.published import Openers, SharedPublishedModels
from foresight_services.models.recording import Recording
from foresight_services.models.retrying import RetryBudget, RetryingModel, RetrySettings
from foresight_services.models.sharing import SharingModel
from foresight_services.simulator.prompting.personas import PersonaBook
from foresight_services.simulator.prompting.policy import (
    PromptedPolicy,
    PromptedPolicySettings,
    load_policy_prompts,
)
from foresight_services.simulator.prompting.user import (
    PromptedUser,
    PromptedUserSettings,
    load_user_prompts,
)
from foresight_services.worlds.world import World


class Models:
    """Everything of a process that can be spoken with. Close it with `aclose`."""

    def __init__(
        self,
        config: Config,
        worlds: Mapping[str, World],
        clock: Clock,
        telemetry: Telemetry,
        recording: Recording | None = None,
    ) -> None:
        """Prepare the models of `config`; backends connect when they are first asked.

        Calls are recorded to, or replayed from, `recording`, which stays the caller's to close.

        Raises:
            InvalidInput: where a prompt's file or a key's variable cannot be used.
        """
        self.worlds = worlds
        """The builtin worlds that rules play in."""
        self._config = config
        self._clock = clock
        self._telemetry = telemetry
        self._recording = recording
        self._backends = Backends(clock)
        self._gates: dict[str, tuple[Gate, Gate]] = {}
        self._retries: dict[str, RetryBudget] = {}
        self._prompts = prompt_files(config)
        # Once: versions that are opened later must be prompted as the fingerprint says.
        self._policy_prompts = load_policy_prompts(self._prompts["policy"])
        prices = {name: Price(p.input, p.output, p.cached) for name, p in config.prices.items()}
        self._prices = load_prices().overridden(prices)
        self._published: SharedPublishedModels | None = None

    @property
    def policy_prompts(self) -> str:
        """Digest of the prompts of policies."""
        return self._policy_prompts.digest

    def personas(self) -> PersonaBook | None:
        """Return the personas of the simulated user; rules have none."""
        if isinstance(self._config.models[self._config.roles.user], BuiltinModelConfig):
            return None
        path = self._config.simulator.personas_path
        return PersonaBook(Path(path) if path else None)

    def user(self, personas: PersonaBook | None) -> ChatModel:
        """Return the user simulator."""
        name = self._config.roles.user
        model = SharingModel(self._dressed(name, self._backend(name, "user")))
        settings = self._config.models[name]
        if isinstance(settings, BuiltinModelConfig) or personas is None:
            return model
        return PromptedUser(
            model,
            settings=PromptedUserSettings(
                termination_signal=self._config.simulator.termination_signal,
                schema=settings.structured,
                system_role=settings.system_role,
                transcript=STYLES[self._config.simulator.transcript],
            ),
            prompts=load_user_prompts(self._prompts["user"]),
            personas=personas,
        )

    def judge(self) -> tuple[Judge, Extractor]:
        """Return who judges conversations, and who finds artifacts in them."""
        name = self._config.roles.judge
        model = self._dressed(name, self._backend(name, "judge"))
        settings = self._config.models[name]
        if isinstance(settings, BuiltinModelConfig):
            return RuledJudge(model), NoExtractor()
        evaluator = self._config.evaluator
        asked = PromptedJudgeSettings(
            attempts=evaluator.judge_attempts,
            max_artifact_tokens=evaluator.max_artifact_tokens,
            schema=settings.structured,
            system_role=settings.system_role,
            transcripts={name: STYLES[style] for name, style in evaluator.transcripts.items()},
        )
        prompts = load_judge_prompts(self._prompts["judge"])
        judge = PromptedJudge(model, settings=asked, prompts=prompts)
        return judge, PromptedExtractor(model, settings=asked, prompts=prompts)

    def policies(self) -> ConfiguredPolicies:
        """Return every configured model as a policy."""
        return ConfiguredPolicies(
            {
                name: (backend.rules, self._policy(name, backend.model, backend.place))
                for name in self._config.models
                for backend in (self._backend(name, "policy"),)
            }
        )

    def published(self) -> SharedPublishedModels:
        """Return what opens published versions of policies."""
        simulator = self._config.simulator
        openers = {name: self._openers(name) for name in self._config.models}
        self._published = SharedPublishedModels(
            openers, default=PolicyRef().name, max_idle=simulator.max_idle_policies
        )
        return self._published

    async def start(self) -> None:
        """Load the engines of this process; InvalidInput names a model that cannot be loaded."""
        await self._backends.start()

    async def aclose(self) -> None:
        """Close versions, then adapters, then backends."""
        if self._published is not None:
            await self._published.aclose()
        await self._backends.aclose()

    def _openers(self, name: str) -> Openers:
        settings, decorate = self._config.models[name], partial(self._policy, name)
        if self._offline and isinstance(settings, ServedModelConfig):
            return offline_openers(decorate)
        return self._backends.openers(
            name,
            settings,
            decorate=decorate,
            load_timeout_seconds=self._config.simulator.lora_load_timeout_seconds,
        )

    @property
    def _offline(self) -> bool:
        return self._recording is not None and self._recording.offline

    def _policy(
        self, name: str, backend: ChatModel, place: str, published: PublishedPolicy | None = None
    ) -> ChatModel:
        """Return `backend` at `place`, prompted and guarded as the policy called `name`."""
        settings = self._config.models[name]
        ref = PolicyRef(name) if published is None else published.ref
        model = self._dressed(name, Backend(backend, place), ref)
        if isinstance(settings, BuiltinModelConfig):
            return model
        return PromptedPolicy(
            model,
            settings=PromptedPolicySettings(system_role=settings.system_role),
            prompts=self._policy_prompts,
        )

    def _backend(self, name: str, role: ModelRole) -> Backend:
        settings = self._config.models[name]
        if isinstance(settings, BuiltinModelConfig):
            rules = BuiltinModel(self.worlds, skill=settings.skill if role == "policy" else "")
            return Backend(rules, name, rules)
        if self._offline:
            return Backend(OfflineModel(), name)
        return self._backends.get(name, settings)

    def _dressed(self, name: str, backend: Backend, policy: PolicyRef | None = None) -> ChatModel:
        """Return `backend` with everything between it and its role's prompt."""
        price = self._price(name)
        model = backend.model if self._offline else self._guarded(name, backend, price)
        if self._recording is not None:
            ref = policy or PolicyRef(name)
            model = self._recording.around(model, name=ref.name, version=ref.version, price=price)
        return MeteredModel(model, clock=self._clock, telemetry=self._telemetry, price=price)

    def _guarded(self, name: str, backend: Backend, price: Price | None) -> ChatModel:
        """Return `backend` with what meets its faults and keeps to limits and budgets."""
        settings = self._config.models[name]
        model = backend.model
        if self._recording is not None:
            model = self._recording.backend(model)
        if isinstance(settings, ServedModelConfig):
            breaker, limits = self._gates_of(name, settings, backend)
            model = GatedModel(GatedModel(model, limits), breaker)
            model = BudgetedModel(model, price=price)
            if settings.hedging is not None:
                hedging = HedgeSettings(
                    quantile=settings.hedging.quantile, max_share=settings.hedging.max_share
                )
                model = HedgedModel(model, settings=hedging, clock=self._clock)
            retries = RetrySettings(
                base_seconds=settings.retries.base_seconds,
                cap_seconds=settings.retries.cap_seconds,
                retries_per_request=settings.retries.per_request,
                budget_share=settings.retries.budget_share,
            )
            # Jitter must differ between processes, or they would all come back at once.
            model = RetryingModel(
                model,
                settings=retries,
                clock=self._clock,
                rng=random.SystemRandom(),
                budget=self._retry_budget(backend.place, retries),
            )
        else:
            model = BudgetedModel(model, price=price)
        return model

    def _retry_budget(self, place: str, settings: RetrySettings) -> RetryBudget:
        """Return the retries that the place can be asked for, by the settings that came first."""
        if place not in self._retries:
            self._retries[place] = RetryBudget(settings, self._clock)
        return self._retries[place]

    def _gates_of(
        self, name: str, settings: ServedModelConfig, backend: Backend
    ) -> tuple[Gate, Gate]:
        """Return breaker and limits of the backend's place, by the settings that came first."""
        if backend.place not in self._gates:
            limits, breaker = settings.limits, settings.breaker
            self._gates[backend.place] = (
                BreakerModel(
                    backend.model,
                    name=name,
                    settings=BreakerSettings(
                        failure_share=breaker.failure_share,
                        min_calls=breaker.min_calls,
                        window_seconds=breaker.window_seconds,
                        open_seconds=breaker.open_seconds,
                    ),
                    clock=self._clock,
                ),
                LimitedModel(
                    backend.model,
                    name=name,
                    settings=LimitSettings(
                        max_concurrency=limits.max_concurrency,
                        requests_per_minute=limits.requests_per_minute,
                        tokens_per_minute=limits.tokens_per_minute,
                        adaptive=AdaptiveSettings() if limits.adaptive else None,
                    ),
                    clock=self._clock,
                ),
            )
        return self._gates[backend.place]

    def _price(self, name: str) -> Price | None:
        settings = self._config.models[name]
        if not isinstance(settings, ServedModelConfig):
            return None
        if settings.price is not None:
            return Price(settings.price.input, settings.price.output, settings.price.cached)
        return self._prices.find(settings.model) if settings.backend == "litellm" else None
