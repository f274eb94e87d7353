"""What one future is: who speaks when, who knows what, which seeds are drawn, how it ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import InvalidInput, NotFound, Violation
from foresight_services.core.future import Future, FutureId, SimulatedFuture, Termination
from foresight_services.core.ports import ChatRequest
from foresight_services.core.seeds import derive_seed
from foresight_services.core.task import PolicyRef, Task
from tests.fakes.chat import ScriptedChat
from tests.fakes.simulation import SIGNAL, SeededGoals, make_simulation, simulation_request

SECRET_TASK = Task(
    preset="a preset",
    description="what they do",
    guidance="GUIDANCE",
    goal="GOAL",
    reference="REFERENCE",
    world="a world",
    metadata={"fact": "METADATA"},
)


async def simulate(user: ScriptedChat, policy: ScriptedChat, /, **fields) -> list[Future]:
    simulation = make_simulation(user=user, policy=policy)
    return [future async for future in simulation.simulate(simulation_request(**fields))]


async def one(user: ScriptedChat, policy: ScriptedChat, /, **fields) -> SimulatedFuture:
    (future,) = await simulate(user, policy, **fields)
    assert isinstance(future.outcome, SimulatedFuture)
    return future.outcome


@pytest.mark.parametrize(
    ("horizon", "speakers"),
    [(1, "u"), (2, "ua"), (3, "uau"), (4, "uaua"), (5, "uauau"), (64, "ua" * 32)],
)
async def test_the_horizon_counts_messages_of_either_role(horizon: int, speakers: str) -> None:
    future = await one(ScriptedChat("u"), ScriptedChat("a"), horizon_messages=horizon)
    assert [m.content for m in future.messages] == list(speakers)
    assert [m.role for m in future.messages] == [
        "user" if speaker == "u" else "assistant" for speaker in speakers
    ]
    assert future.termination is Termination.HORIZON


async def test_a_horizon_of_0_asks_no_model() -> None:
    user, policy = ScriptedChat("u"), ScriptedChat("a")
    future = await one(user, policy, horizon_messages=0)
    assert future == SimulatedFuture(
        "the goal", (), Termination.HORIZON, PolicyRef("policy", version=7)
    )
    assert user.requests == policy.requests == []


async def test_the_user_ends_it_and_the_last_message_stays_as_it_was_said() -> None:
    replies = iter(["more", f"thanks {SIGNAL} bye"])
    policy = ScriptedChat("a")
    future = await one(ScriptedChat(lambda _: next(replies)), policy, horizon_messages=9)
    assert [m.content for m in future.messages] == ["more", "a", f"thanks {SIGNAL} bye"]
    assert future.termination is Termination.USER_ENDED
    assert len(policy.requests) == 1


async def test_the_signal_on_the_last_message_of_the_horizon_is_the_users_end() -> None:
    future = await one(ScriptedChat(SIGNAL), ScriptedChat("a"), horizon_messages=1)
    assert future.termination is Termination.USER_ENDED


async def test_the_signal_means_nothing_in_other_messages() -> None:
    future = await one(
        ScriptedChat("u"),
        ScriptedChat(f"I say {SIGNAL}"),
        prefix=(Message("user", f"what does {SIGNAL} mean?"),),
        candidates=(f"It is {SIGNAL}.",),
        horizon_messages=3,
    )
    assert [m.content for m in future.messages] == ["u", f"I say {SIGNAL}", "u"]
    assert future.termination is Termination.HORIZON


async def test_a_speaker_hears_prefix_candidate_and_everything_said_since() -> None:
    prefix = (Message("system", "be brief"), Message("user", "hello"))
    user, policy = ScriptedChat("u"), ScriptedChat("a")
    await one(user, policy, prefix=prefix, candidates=("c",), horizon_messages=3)
    opening = (*prefix, Message("assistant", "c"))
    said = (Message("user", "u"), Message("assistant", "a"))
    assert [r.conversation for r in user.requests] == [opening, (*opening, *said)]
    assert [r.conversation for r in policy.requests] == [(*opening, said[0])]
    assert [r.role for r in (*user.requests, *policy.requests)] == ["user", "user", "policy"]
    assert {r.max_tokens for r in (*user.requests, *policy.requests)} == {100}


def texts(value: object) -> Iterator[str]:
    """Yield every text in a request, but for its conversation and its ledger."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Task):
        for field in dataclasses.fields(value):
            yield from texts(getattr(value, field.name))
    elif isinstance(value, ChatRequest):
        yield from texts(value.task)
    elif hasattr(value, "items"):
        for key, inner in value.items():
            yield from (key, inner)


async def test_the_policy_never_sees_what_only_the_user_or_the_judge_may_know() -> None:
    policy = ScriptedChat("a")
    await one(ScriptedChat("u"), policy, task=SECRET_TASK)
    seen = {text for request in policy.requests for text in texts(request)}
    assert seen == {"a preset", "what they do", "a world", ""}


async def test_the_policy_never_sees_a_drawn_goal() -> None:
    policy = ScriptedChat("a")
    future = await one(ScriptedChat("u"), policy, task=Task(world="a world"))
    assert future.goal.startswith("goal ")
    assert {request.task.goal for request in policy.requests} == {""}


async def test_the_user_sees_its_goal_and_guidance_but_not_the_reference() -> None:
    user = ScriptedChat("u")
    await one(user, ScriptedChat("a"), task=SECRET_TASK)
    seen = {text for request in user.requests for text in texts(request)}
    assert seen == {"a preset", "what they do", "GUIDANCE", "GOAL", "a world", ""}


async def test_candidates_share_their_draws_sample_by_sample() -> None:
    user, policy = ScriptedChat("u"), ScriptedChat("a")
    await simulate(user, policy, candidates=("one", "two", "three"), samples=2)
    draws: dict[str, list[int]] = {}
    for request in (*user.requests, *policy.requests):
        draws.setdefault(request.conversation[1].content, []).append(request.seed)
    assert sorted(draws["one"]) == sorted(draws["two"]) == sorted(draws["three"])
    # Two samples of four messages each: eight draws, none of them twice.
    assert len(set(draws["one"])) == len(draws["one"]) == 8


async def test_seeds_are_named_by_request_seed_sample_speaker_and_turn() -> None:
    user, policy = ScriptedChat("u"), ScriptedChat("a")
    await simulate(user, policy, futures=(FutureId(0, 5),), seed=42)
    # That of the first turn is its sample's neighbour of the others'.
    opening = derive_seed(42, 0, "user") + 5
    assert [r.seed for r in user.requests] == [opening, derive_seed(42, 5, "user", 2)]
    assert [r.seed for r in policy.requests] == [derive_seed(42, 5, "assistant", i) for i in (1, 3)]


async def test_a_drawn_goal_depends_on_seed_and_sample_alone() -> None:
    async def goals(**fields) -> dict[FutureId, str]:
        futures = await simulate(
            ScriptedChat("u"), ScriptedChat("a"), task=Task(world="w"), samples=3, **fields
        )
        return {f.id: f.outcome.goal for f in futures if isinstance(f.outcome, SimulatedFuture)}

    drawn = await goals(candidates=("one", "two"), seed=1)
    assert len(drawn) == 6
    assert all(drawn[FutureId(0, s)] == drawn[FutureId(1, s)] for s in range(3))
    assert len(set(drawn.values())) == 3
    assert set(drawn.values()).isdisjoint((await goals(seed=2)).values())


async def test_a_goal_of_the_task_is_the_goal_of_every_future() -> None:
    futures = await simulate(ScriptedChat("u"), ScriptedChat("a"), samples=3)
    goals = {f.outcome.goal for f in futures if isinstance(f.outcome, SimulatedFuture)}
    assert goals == {"the goal"}


async def test_usage_counts_messages_calls_and_tokens_by_role() -> None:
    (future,) = await simulate(ScriptedChat("two words"), ScriptedChat("a"), horizon_messages=3)
    assert future.usage.messages == 3
    user, policy = future.usage.models["user"], future.usage.models["policy"]
    # The user heard 2 and 4 messages and wrote 2 words each time.
    assert (user.calls, user.prompt_tokens, user.completion_tokens) == (2, 6, 4)
    assert (policy.calls, policy.prompt_tokens, policy.completion_tokens) == (1, 3, 1)


async def test_the_version_that_answered_is_told() -> None:
    future = await one(ScriptedChat("u"), ScriptedChat("a"), policy=PolicyRef("policy", 0))
    assert future.policy == PolicyRef("policy", 7)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"prefix": ()}, "prefix"),
        ({"prefix": (Message("assistant", "hi"),)}, "prefix[0].role"),
        ({"candidates": (), "futures": (FutureId(0, 0),)}, "candidates"),
        ({"candidates": ("ok", " ")}, "candidates[1]"),
        ({"futures": ()}, "futures"),
        ({"futures": (FutureId(0, 0), FutureId(1, 0))}, "futures[1].candidate_index"),
        ({"futures": (FutureId(-1, 0),)}, "futures[0].candidate_index"),
        ({"futures": (FutureId(0, -1),)}, "futures[0].sample_index"),
        ({"futures": (FutureId(0, 1024),)}, "futures[0].sample_index"),
        ({"futures": (FutureId(0, 0), FutureId(0, 0))}, "futures"),
        ({"horizon_messages": -1}, "horizon_messages"),
        ({"horizon_messages": 65}, "horizon_messages"),
        ({"max_message_tokens": 0}, "max_message_tokens"),
    ],
)
async def test_a_wrong_request_is_refused_by_field(fields, path: str) -> None:
    user, policy = ScriptedChat("u"), ScriptedChat("a")
    with pytest.raises(InvalidInput) as refused:
        await simulate(user, policy, **fields)
    assert path in [violation.field for violation in refused.value.violations]
    assert user.requests == policy.requests == []


async def test_an_unknown_policy_and_an_impossible_goal_are_refused_before_any_call() -> None:
    user, policy = ScriptedChat("u"), ScriptedChat("a")
    with pytest.raises(NotFound):
        await simulate(user, policy, policy=PolicyRef("other"))
    refusal = InvalidInput((Violation("task.goal", "is no goal"),))
    simulation = make_simulation(user=user, policy=policy, goals=SeededGoals(refusal))
    with pytest.raises(InvalidInput, match="is no goal"):
        await anext(simulation.simulate(simulation_request()))
    assert user.requests == policy.requests == []
