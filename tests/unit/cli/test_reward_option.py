"""`--reward-id` and `--objective`: what is asked of the service, and what cannot be combined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foresight import CandidateReward, Rewards, StoredReward, Usage
from foresight.errors import InvalidRequestError
from foresight.v1.reward_service_pb2 import ComputeRewardsRequest
from foresight_services.cli.reward_option import StoredChoice, choose_stored
from foresight_services.core.errors import InvalidInput

OBJECTIVE = "profile: release\nmetrics: [{name: success, weight: 2}]\n"


def reward(index: int, value: float) -> CandidateReward:
    return CandidateReward(
        index, value, None, None, "complete", None, 1, 1, {}, (), Usage(0, {}, 0.0), "id"
    )


class FakeClient:
    """Knows one reward and scores it anew with 0.75."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def get_reward(self, reward_id: str, **options: Any) -> StoredReward:
        self.asked.append((reward_id, options))
        request = ComputeRewardsRequest(candidates=["Sure.", "No."], request_id="r")
        return StoredReward(reward_id, request, reward(1, 0.5), "release", "2", (), None)

    async def rescore_reward(self, reward_id: str, **options: Any) -> Rewards:
        self.asked.append((reward_id, options))
        return Rewards("r", (reward(0, 0.75),), "release", "2", (), None, Usage(0, {}, 0.0))


def chosen(reward_id: str | None, objective: Path | None = None, **others: Any) -> Any:
    return choose_stored(reward_id, None if objective is None else str(objective), others=others)


async def test_a_stored_reward_is_shown_as_it_was() -> None:
    client: Any = FakeClient()
    candidates, rewards = await chosen("id").rewards(client, timeout=3.0)
    assert (candidates, rewards.values, rewards.profile_version) == (["No."], [0.5], "2")
    assert client.asked == [("id", {"timeout": 3.0})]


async def test_an_objective_is_asked_for_with_all_texts(tmp_path: Path) -> None:
    file = tmp_path / "objective.yaml"
    file.write_text(OBJECTIVE)
    client: Any = FakeClient()
    candidates, rewards = await chosen("id", file).rewards(client)
    assert (candidates, rewards.values) == (["No."], [0.75])
    objective = {"profile": "release", "metrics": [{"name": "success", "weight": 2}]}
    asked = {"objective": objective, "include_futures": True, "timeout": None}
    assert client.asked[1] == ("id", asked)


def test_without_an_id_nothing_is_chosen() -> None:
    assert chosen(None, FILE="request.yaml") is None
    assert chosen("id", FILE=None) == StoredChoice("id", None)


@pytest.mark.parametrize("option", ["FILE", "--seed"])
def test_a_stored_reward_has_its_own_request(option: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        choose_stored("id", None, others={option: 0})
    assert [violation.field for violation in refused.value.violations] == [option]


def test_an_objective_needs_a_stored_reward(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        chosen(None, tmp_path / "objective.yaml")
    assert [violation.field for violation in refused.value.violations] == ["--objective"]


@pytest.mark.parametrize("text", ["", "- a", "a: [", None])
def test_a_file_that_is_no_objective_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "objective.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        chosen("id", file)
    assert [violation.field for violation in refused.value.violations] == [str(file)]


def test_a_wrong_field_of_the_objective_is_named(tmp_path: Path) -> None:
    file = tmp_path / "objective.yaml"
    file.write_text("metrics: [{nam: success}]")
    with pytest.raises(InvalidRequestError) as refused:
        chosen("id", file)
    assert [v.field for v in refused.value.violations] == ["objective.metrics[0].nam"]
