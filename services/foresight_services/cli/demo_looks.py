"""Scores the demo's scenes twice: looking ahead to the end, and the candidate as it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foresight import AsyncClient, Rewards
from foresight_services.cli.demo_scenes import Scene
from foresight_services.cli.exact_comparison import Compared, exact, make_request
from foresight_services.cli.group_scoring import score_groups
from foresight_services.cli.ranking import leaders, ranks
from foresight_services.tasks.presets import load_presets
from foresight_services.worlds.exact.cases import Case
from foresight_services.worlds.world import World


@dataclass(frozen=True, slots=True)
class Look:
    """A scene's candidates at one horizon."""

    horizon: int
    """Messages ahead; 0 is the single-turn reward."""
    compared: tuple[Compared, ...]
    """Estimate and truth of each candidate."""

    @property
    def ranks(self) -> list[int | None]:
        """Ranks of the candidates by their estimates."""
        return ranks([each.reward.value for each in self.compared])

    @property
    def leaders(self) -> list[int]:
        """Positions of the candidates that rank first."""
        return leaders([each.reward.value for each in self.compared])


@dataclass(frozen=True, slots=True)
class SceneLooks:
    """A scene with both of its looks."""

    scene: Scene
    """The scene."""
    ahead: Look
    """MR: to the end of the conversation."""
    now: Look
    """The single-turn reward."""


async def look_at(
    client: AsyncClient, worlds: Mapping[str, World], scenes: Sequence[Scene], seed: int
) -> list[SceneLooks]:
    """Score `scenes`, all on one stream."""
    requests = {
        f"{scene.name}/{horizon}": make_request(
            preset=scene.preset,
            prefix=scene.prefix,
            candidates=scene.candidates,
            weights=_weights(scene),
            horizon=horizon,
            skill=scene.skill,
            seed=seed,
        )
        for scene in scenes
        for horizon in (scene.horizon, 0)
    }
    rewards = await score_groups(client, requests)
    return [
        SceneLooks(
            scene,
            ahead=await _look(
                worlds, scene, scene.horizon, rewards[f"{scene.name}/{scene.horizon}"]
            ),
            now=await _look(worlds, scene, 0, rewards[f"{scene.name}/0"]),
        )
        for scene in scenes
    ]


async def _look(worlds: Mapping[str, World], scene: Scene, horizon: int, rewards: Rewards) -> Look:
    compared = []
    for candidate, reward in zip(scene.candidates, rewards, strict=True):
        case = Case(scene.preset, scene.prefix, candidate, _weights(scene), horizon, scene.skill)
        compared.append(Compared(reward, await exact(worlds[scene.preset], case)))
    return Look(horizon, tuple(compared))


def _weights(scene: Scene) -> dict[str, float]:
    objective = load_presets()[scene.preset].objective
    return {metric.name: metric.weight for metric in objective.metrics}
