"""What a simulation tells prompted models, and what it does when a conversation no longer fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import Failure, InvalidInput, Reason, Upstream
from foresight_services.core.future import Future, SimulatedFuture, SimulationRequest, Termination
from foresight_services.core.objective import MetricSpec, Objective
from foresight_services.core.ports import ChatModel, ChatRequest
from foresight_services.core.request import RewardQuery, resolve, share_of
from foresight_services.core.simulation import Simulation
from foresight_services.core.task import Task
from tests.fakes.chat import ScriptedChat
from tests.fakes.simulation import SIGNAL, OnePolicy, SeededGoals, simulation_request
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock


class SeededPersonas:
    """Draws `persona <seed>`; implements the port `Personas`."""

    names = ("hurried", "patient")

    def draw(self, seed: int, among: tuple[str, ...] = ()) -> str:
        """Return a persona that tells its seed and what there was to choose from."""
        return f"persona {seed}" + "".join(f" {name}" for name in among)


def simulation(user: ChatModel, policy: ChatModel, **given: Any) -> Simulation:
    return Simulation(
        user=user,
        policies=OnePolicy(policy),
        goals=SeededGoals(),
        clock=LoopClock(),
        telemetry=RecordingTelemetry(),
        termination_signal=SIGNAL,
        max_futures=100,
        **given,
    )


async def played(simulation: Simulation, request: SimulationRequest) -> list[Future]:
    return [future async for future in simulation.simulate(request, deadline=None)]


def simulated(future: Future) -> SimulatedFuture:
    assert isinstance(future.outcome, SimulatedFuture)
    return future.outcome


def too_long_after(turns: int) -> Any:
    """Answer while the conversation has at most `turns` messages."""

    def answer(request: ChatRequest) -> str:
        if len(request.conversation) > turns:
            raise Upstream(Reason.CONTEXT_EXHAUSTED, "too long", metadata={"model": "m"})
        return "more"

    return answer


async def test_a_future_that_no_longer_fits_ends_as_it_stands() -> None:
    user, policy = ScriptedChat("ok"), ScriptedChat(too_long_after(3))

    (future,) = await played(simulation(user, policy), simulation_request())

    assert simulated(future).termination is Termination.CONTEXT_EXHAUSTED
    assert [m.content for m in simulated(future).messages] == ["ok", "more", "ok"]


async def test_it_may_end_before_its_first_message() -> None:
    user = ScriptedChat(too_long_after(0))

    (future,) = await played(simulation(user, ScriptedChat("x")), simulation_request())

    assert simulated(future).termination is Termination.CONTEXT_EXHAUSTED
    assert simulated(future).messages == ()


async def test_it_is_left_out_where_so_configured() -> None:
    user, policy = ScriptedChat("ok"), ScriptedChat(too_long_after(3))
    excluding = simulation(user, policy, on_context_exhausted="exclude")

    (future,) = await played(excluding, simulation_request())

    assert isinstance(future.outcome, Failure)
    assert future.outcome.reason is Reason.CONTEXT_EXHAUSTED


async def test_any_other_fault_stays_a_failure() -> None:
    def fail(request: ChatRequest) -> str:
        raise Upstream(Reason.MODEL_FAILED, "down")

    (future,) = await played(
        simulation(ScriptedChat(fail), ScriptedChat("x")), simulation_request()
    )

    assert isinstance(future.outcome, Failure)
    assert future.outcome.reason is Reason.MODEL_FAILED


async def test_candidates_meet_the_same_personas_and_only_the_user_is_told() -> None:
    user, policy = ScriptedChat("ok"), ScriptedChat("more")
    request = simulation_request(samples=3, candidates=("A", "B"))

    futures = await played(simulation(user, policy, personas=SeededPersonas()), request)

    personas = {future.id: simulated(future).persona for future in futures}
    for which, persona in personas.items():
        assert persona == personas[type(which)(0, which.sample)]
    assert len(set(personas.values())) == 3
    assert {asked.persona for asked in user.requests} == set(personas.values())
    assert {asked.persona for asked in policy.requests} == {""}


async def test_without_personas_none_is_played() -> None:
    user = ScriptedChat("ok")

    (future,) = await played(simulation(user, ScriptedChat("more")), simulation_request())

    assert simulated(future).persona == ""
    assert {asked.persona for asked in user.requests} == {""}


async def test_the_first_samples_get_the_system_prompt_and_the_call_to_be_proactive() -> None:
    def tell(request: ChatRequest) -> str:
        return f"{request.system_prompt} {request.proactive}"

    user, policy = ScriptedChat("ok"), ScriptedChat(tell)
    request = simulation_request(
        samples=4, candidates=("A", "B"), system_prompt_samples=3, proactive_samples=1
    )

    futures = await played(simulation(user, policy), request)

    for future in futures:
        sample = future.id.sample
        said = {m.content for m in simulated(future).messages if m.role == "assistant"}
        assert said == {f"{sample < 3} {sample < 1}"}
    assert not any(asked.system_prompt or asked.proactive for asked in user.requests)


async def test_models_are_told_the_deadline() -> None:
    user, policy = ScriptedChat("ok"), ScriptedChat("more")
    clock = LoopClock()
    deadline = clock.now() + 1000

    async for _ in simulation(user, policy).simulate(simulation_request(), deadline=deadline):
        pass

    assert {asked.deadline for asked in (*user.requests, *policy.requests)} == {deadline}


@pytest.mark.parametrize("field", ["system_prompt_samples", "proactive_samples"])
@pytest.mark.parametrize("count", [-1, 1025])
async def test_a_wrong_count_is_refused(field: str, count: int) -> None:
    with pytest.raises(InvalidInput, match=field):
        await played(
            simulation(ScriptedChat("x"), ScriptedChat("x")), simulation_request(**{field: count})
        )


@pytest.mark.parametrize(
    ("samples", "share", "count"),
    [
        (3, 0.0, 0),
        (3, -0.0, 0),
        (3, 0.33, 0),
        (3, 0.34, 1),
        (3, 0.5, 1),
        (4, 0.5, 2),
        (3, 1.0, 3),
        (100, 0.29, 29),
        (100, 0.57, 57),
        (10, 0.7, 7),
        (1000, 0.001, 1),
        (1024, 1e-300, 0),
    ],
)
def test_a_share_is_exact(samples: int, share: float, count: int) -> None:
    assert share_of(samples, share) == count


@pytest.mark.parametrize("field", ["system_prompt_share", "proactive_share"])
@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), float("inf"), -float("inf")])
def test_a_share_that_is_none_is_refused(field: str, share: float) -> None:
    query = _query(**{field: share})

    with pytest.raises(InvalidInput) as caught:
        resolve(query, {})

    assert [v.field for v in caught.value.violations] == [f"simulation.{field}"]


def test_shares_become_counts_of_the_samples() -> None:
    request = resolve(_query(samples_max=10, system_prompt_share=0.7, proactive_share=0.25), {})

    assert (request.system_prompt_samples, request.proactive_samples) == (7, 2)


def _query(**given: Any) -> RewardQuery:
    return RewardQuery(
        task=Task(goal="g"),
        prefix=(Message("user", "hi"),),
        candidates=("A",),
        objective=Objective(profile="", metrics=(MetricSpec("messages"),)),
        **given,
    )


async def test_only_the_personas_that_the_request_names_are_drawn() -> None:
    user = ScriptedChat("ok")
    request = replace(simulation_request(samples=2), personas=("patient",))

    await played(simulation(user, ScriptedChat("more"), personas=SeededPersonas()), request)

    assert {asked.persona.split()[2:] == ["patient"] for asked in user.requests} == {True}


async def test_a_persona_that_the_simulator_has_not_is_refused() -> None:
    request = replace(simulation_request(), personas=("patient", "huried"))
    with pytest.raises(InvalidInput, match=r"personas\[1\]: .*did you mean 'hurried'"):
        await played(
            simulation(ScriptedChat("a"), ScriptedChat("b"), personas=SeededPersonas()), request
        )


async def test_rules_play_no_persona_and_take_any_name() -> None:
    request = replace(simulation_request(), personas=("anyone",))
    (future,) = await played(simulation(ScriptedChat("a"), ScriptedChat("b")), request)
    assert simulated(future).persona == ""
