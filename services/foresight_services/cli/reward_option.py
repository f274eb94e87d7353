"""The options `--reward-id` and `--objective`: a stored reward, as it was or scored anew."""

from __future__ import annotations

from dataclasses import dataclass

from foresight import AsyncClient, Rewards, build_request
from foresight.errors import InvalidRequestError
from foresight_services.cli.document import Value
from foresight_services.cli.failures import wrong
from foresight_services.cli.request_file import read_mapping

_FIELDS = "an objective has `profile` and `metrics`"


@dataclass(frozen=True, slots=True)
class StoredChoice:
    """What `--reward-id` and `--objective` chose."""

    reward_id: str
    """The stored reward."""
    objective: dict[str, Value] | None
    """What its futures are scored by; None for what they were scored by."""

    async def rewards(
        self,
        client: AsyncClient,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
    ) -> tuple[list[str], Rewards]:
        """Return the candidate's text and its rewards, with all texts of the futures.

        Raises:
            ForesightError: the reward is not stored, or could not be scored.
        """
        stored = await client.get_reward(self.reward_id, timeout=timeout)
        if self.objective is not None:
            rewards = await client.rescore_reward(
                self.reward_id, objective=self.objective, include_futures=True, timeout=timeout
            )
            return [stored.candidate], rewards
        rewards = Rewards(
            request_id=stored.request.request_id,
            candidates=(stored.reward,),
            profile=stored.profile,
            profile_version=stored.profile_version,
            metrics=stored.metrics,
            objective_range=stored.objective_range,
            usage=stored.reward.usage,
        )
        return [stored.candidate], rewards


def choose_stored(
    reward_id: str | None, objective: str | None, *, others: dict[str, object]
) -> StoredChoice | None:
    """Return the choice, None where no stored reward was asked for.

    Args:
        reward_id: what `--reward-id` says.
        objective: file that `--objective` names, `-` for standard input.
        others: what other options say that make up a request; none of them may say anything.

    Raises:
        InvalidInput: options that cannot be combined, or a file that cannot be read.
        InvalidRequestError: with every field of the objective that is wrong.
    """
    if reward_id is None:
        if objective is not None:
            raise wrong("--objective", "needs --reward-id; a request has its own objective")
        return None
    for option, value in others.items():
        if value is not None:
            raise wrong(option, "cannot be combined with --reward-id, which has its own request")
    if objective is None:
        return StoredChoice(reward_id, None)
    name, document = read_mapping(objective, _FIELDS)
    try:
        build_request({"objective": document})
    except InvalidRequestError:
        raise
    except ValueError as error:
        raise wrong(name, str(error)) from error
    return StoredChoice(reward_id, document)
