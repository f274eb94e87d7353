"""User, policy and judge as prompted models behind a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from foresight_services.core.conversation import Message
from foresight_services.core.future import (
    EvaluationItem,
    EvaluationSetup,
    Future,
    SimulatedFuture,
    SimulationRequest,
    Termination,
)
from foresight_services.core.objective import MetricSpec
from foresight_services.core.ports import Evaluator
from foresight_services.core.simulation import Simulation
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.judging.prompted import PromptedJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from foresight_services.simulator.prompting.personas import PersonaBook
from foresight_services.simulator.prompting.policy import PromptedPolicy
from foresight_services.simulator.prompting.user import PromptedUser, PromptedUserSettings
from tests.fakes.asking import POEM, SIGNAL
from tests.fakes.evaluation import make_evaluation
from tests.fakes.openai_client import StoppedClock, openai_model
from tests.fakes.openai_server import Call, Fault, OpenAIServer, Reply, Script, error, openai_server
from tests.fakes.simulation import OnePolicy, SeededGoals, simulation_request
from tests.fakes.telemetry import RecordingTelemetry


@dataclass
class Stage:
    """A simulation and an evaluation whose models one server plays."""

    server: OpenAIServer
    simulation: Simulation
    evaluator: Evaluator

    async def play(self, request: SimulationRequest) -> list[Future]:
        return [future async for future in self.simulation.simulate(request)]

    def calls(self, role: str) -> list[Call]:
        return [call for call in self.server.calls if call.model == role]


@asynccontextmanager
async def stage(script: Script) -> AsyncIterator[Stage]:
    """Open a stage on which every model is asked by its role's name."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(openai_server(script))
        user, policy, judge = [
            await stack.enter_async_context(openai_model(server.base_url, model=role))
            for role in ("user", "policy", "judge")
        ]
        simulation = Simulation(
            user=PromptedUser(user, settings=PromptedUserSettings(termination_signal=SIGNAL)),
            policies=OnePolicy(PromptedPolicy(policy)),
            goals=SeededGoals(),
            clock=StoppedClock(),
            telemetry=RecordingTelemetry(),
            termination_signal=SIGNAL,
            max_futures=100,
            personas=PersonaBook(),
        )
        catalog = Catalog(tools=Tools(judge=PromptedJudge(judge), token_counters=Tokenizers({})))
        yield Stage(server, simulation, make_evaluation(catalog=catalog, clock=StoppedClock()))


def user_turn(call: Call) -> int:
    """Return how many messages the user has written so far."""
    return call.prompt.count("<turn user>")


def plays(call: Call) -> Reply | Fault:
    """Play a user who asks for more and leaves with the third message, and everyone else."""
    if call.model == "user":
        turn = user_turn(call)
        reply = {"thought": "hm", "message": f"wish number {turn}", "done": turn == 3}
        return Reply(f"Sure, here it is:\n```json\n{json.dumps(reply, indent=1)}\n```\nDone.")
    if call.model == "policy":
        return Reply(f"<think>plan</think>\nAnswer to: {call.messages[-1]['content']}")
    return Reply('{"rationale": "it is "nearly" all there", "success": 0.75}')


REQUEST: dict[str, Any] = {
    "task": POEM,
    "candidates": ("A poem!", "Which flowers?"),
    "horizon_messages": 6,
}


async def test_futures_are_played_to_the_end_and_judged() -> None:
    async with stage(plays) as on:
        request = simulation_request(samples=2, **REQUEST)
        futures = await on.play(request)
        setup = EvaluationSetup(
            task=request.task,
            prefix=request.prefix,
            candidates=request.candidates,
            metrics=(MetricSpec("success"),),
            horizon_messages=6,
            max_message_tokens=100,
        )
        async with on.evaluator.open(setup) as session:
            scores = [
                await session.score(EvaluationItem(f.id, POEM.goal, _played(f).messages))
                for f in futures
            ]

    for future in futures:
        played = _played(future)
        assert played.termination is Termination.USER_ENDED
        assert [m.content for m in played.messages] == [
            "wish number 1",
            "Answer to: wish number 1",
            "wish number 2",
            "Answer to: wish number 2",
            f"wish number 3 {SIGNAL}",
        ]
    assert [score.outcome for scored in scores for score in scored.scores] == [0.75] * 4
    assert len(on.calls("judge")) == 4


async def test_on_the_wire_each_prompt_begins_with_the_one_before() -> None:
    async with stage(plays) as on:
        (future,) = await on.play(simulation_request(**{**REQUEST, "candidates": ("A poem!",)}))

    users, policies = on.calls("user"), on.calls("policy")
    assert _extend([call.prompt for call in users])
    for shorter, longer in zip(policies, policies[1:], strict=False):
        assert longer.messages[: len(shorter.messages)] == shorter.messages
    assert {call.messages[0]["content"] for call in users} == {users[0].messages[0]["content"]}
    assert _played(future).persona in PersonaBook().names


def _extend(texts: Sequence[str]) -> bool:
    return len(texts) > 1 and all(
        longer.startswith(shorter) and longer != shorter
        for shorter, longer in zip(texts, texts[1:], strict=False)
    )


async def test_only_the_first_samples_get_the_system_prompt() -> None:
    async with stage(plays) as on:
        request = simulation_request(samples=4, system_prompt_samples=2, **REQUEST)
        await on.play(request)

    roles = [call.messages[0]["role"] for call in on.calls("policy")]
    assert (roles.count("system"), len(roles)) == (8, 16)


async def test_a_conversation_that_no_longer_fits_ends_as_it_stands() -> None:
    def small(call: Call) -> Reply | Fault:
        if call.model == "policy" and len(call.messages) > 3:
            text = "This model's maximum context length is 64 tokens"
            return error(400, text, code="context_length_exceeded")
        return plays(call)

    async with stage(small) as on:
        (future,) = await on.play(simulation_request(**{**REQUEST, "candidates": ("A poem!",)}))

    assert _played(future).termination is Termination.CONTEXT_EXHAUSTED
    assert [m.role for m in _played(future).messages] == ["user", "assistant", "user"]


async def test_a_user_who_drifts_is_asked_again_and_the_future_is_kept() -> None:
    def drifting(call: Call) -> Reply | Fault:
        first = call.model == "user" and "could not be used" not in call.prompt
        return Reply("How can I help you today?") if first else plays(call)

    async with stage(drifting) as on:
        (future,) = await on.play(simulation_request(**{**REQUEST, "candidates": ("A poem!",)}))

    assert _played(future).messages[0] == Message("user", "wish number 1")
    assert future.usage.models["user"].retries == 3
    assert len(on.calls("user")) == 6


def _played(future: Future) -> SimulatedFuture:
    assert isinstance(future.outcome, SimulatedFuture), future.outcome
    return future.outcome
