"""Publishing policies: the calls of PolicyService, for both clients."""

from __future__ import annotations

import numbers
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import grpc

from foresight._channel import Connection
from foresight.errors import InternalError, InvalidRequestError, Violation, from_rpc_error
from foresight.v1.conversation_pb2 import PolicyRef
from foresight.v1.policy_service_pb2 import (
    GetPolicyRequest,
    ListPoliciesRequest,
    Policy,
    PublishPolicyRequest,
)

if TYPE_CHECKING:  # names of the stubs' types alone
    from foresight.v1.policy_service_pb2_grpc import PolicyServiceAsyncStub, PolicyServiceStub

__all__ = ["AsyncPolicyCalls", "PolicyCalls", "PublishedPolicy"]

MAX_VERSION = 2**63 - 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """One version of a policy, and where it is served: exactly one of the three places."""

    name: str
    """Name of the policy."""
    version: int
    """Version of the weights, from 1."""
    endpoint: str | None
    """Base URL of a server that speaks the OpenAI chat API."""
    lora_adapter_path: str | None
    """Path of a LoRA adapter, as the policy's server sees it."""
    trl_server: str | None
    """Base URL of TRL's generation server."""
    published_at: datetime
    """When the service registered it, in UTC."""


class PolicyCalls:
    """The calls of the sync client."""

    _connection: Connection

    def publish_policy(
        self,
        *,
        name: str = "policy",
        version: int,
        endpoint: str | None = None,
        lora_adapter_path: str | None = None,
        trl_server: str | None = None,
        cancel_in_flight: bool = False,
        timeout: float | None = None,
    ) -> PublishedPolicy:
        """Publish new weights of a policy; requests that name no version are played by the newest.

        Publishing the newest version again as it was changes nothing, so a call whose answer was
        lost can be repeated.

        Args:
            name: Name of the policy; requests name it in `simulation.policy.name`.
            version: Greater than every version before. The weights of a version never change:
                write each into a directory of its own. A server at the address of an older version
                takes that version's place.
            endpoint: Base URL of a server that speaks the OpenAI chat API and holds the weights.
            lora_adapter_path: Absolute path of a LoRA adapter, as the policy's server sees it.
            trl_server: Base URL of TRL's generation server.
            cancel_in_flight: Whether futures on older versions end now. Default: they finish.
            timeout: Seconds that the call may take. Default: the client's.

        Raises:
            InvalidRequestError: A field is wrong, or not exactly one place is given.
            StalePolicyError: The version is not newer than the newest one.
            ForesightError: The call failed; see `foresight.errors`.
        """
        places = {
            "endpoint": endpoint,
            "lora_adapter_path": lora_adapter_path,
            "trl_server": trl_server,
        }
        request = build_publish(name, version, places, cancel_in_flight=cancel_in_flight)
        try:
            response = self._policy_stub().PublishPolicy(
                request,
                timeout=self._connection.deadline(timeout),
                metadata=self._connection.metadata(),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        return decode_policy(response.policy)

    def get_policy(
        self, *, name: str = "policy", version: int = 0, timeout: float | None = None
    ) -> PublishedPolicy:
        """Return one version of a policy, 0 for the newest.

        Raises:
            UnknownPolicyError: It was not published, or is too old to be known.
            ForesightError: The call failed; see `foresight.errors`.
        """
        request = GetPolicyRequest(ref=build_ref(name, version))
        try:
            response = self._policy_stub().GetPolicy(
                request,
                timeout=self._connection.deadline(timeout),
                metadata=self._connection.metadata(),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        return decode_policy(response.policy)

    def list_policies(self, *, timeout: float | None = None) -> tuple[PublishedPolicy, ...]:
        """Return the newest version of every published policy, by name.

        Raises:
            ForesightError: The call failed; see `foresight.errors`.
        """
        try:
            response = self._policy_stub().ListPolicies(
                ListPoliciesRequest(),
                timeout=self._connection.deadline(timeout),
                metadata=self._connection.metadata(),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        return tuple(decode_policy(policy) for policy in response.policies)

    def _policy_stub(self) -> PolicyServiceStub:
        raise NotImplementedError


class AsyncPolicyCalls:
    """The calls of the async client."""

    _connection: Connection

    async def publish_policy(
        self,
        *,
        name: str = "policy",
        version: int,
        endpoint: str | None = None,
        lora_adapter_path: str | None = None,
        trl_server: str | None = None,
        cancel_in_flight: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
    ) -> PublishedPolicy:
        """Publish new weights of a policy; see `Client.publish_policy`."""
        places = {
            "endpoint": endpoint,
            "lora_adapter_path": lora_adapter_path,
            "trl_server": trl_server,
        }
        request = build_publish(name, version, places, cancel_in_flight=cancel_in_flight)
        call = self._policy_stub().PublishPolicy(
            request,
            timeout=self._connection.deadline(timeout),
            metadata=self._connection.metadata(),
        )
        return decode_policy((await self._answer(call)).policy)

    async def get_policy(
        self,
        *,
        name: str = "policy",
        version: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
    ) -> PublishedPolicy:
        """Return one version of a policy, 0 for the newest; see `Client.get_policy`."""
        call = self._policy_stub().GetPolicy(
            GetPolicyRequest(ref=build_ref(name, version)),
            timeout=self._connection.deadline(timeout),
            metadata=self._connection.metadata(),
        )
        return decode_policy((await self._answer(call)).policy)

    async def list_policies(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
    ) -> tuple[PublishedPolicy, ...]:
        """Return the newest version of every published policy, by name."""
        call = self._policy_stub().ListPolicies(
            ListPoliciesRequest(),
            timeout=self._connection.deadline(timeout),
            metadata=self._connection.metadata(),
        )
        policies = (await self._answer(call)).policies
        return tuple(decode_policy(policy) for policy in policies)

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error

    def _policy_stub(self) -> PolicyServiceAsyncStub:
        raise NotImplementedError


def build_publish(
    name: str, version: int, places: dict[str, str | None], *, cancel_in_flight: bool
) -> PublishPolicyRequest:
    """Return the request. Raises InvalidRequestError."""
    given = {place: value for place, value in places.items() if value is not None}
    if len(given) != 1:
        problem = f"give exactly one of {', '.join(places)}; got {', '.join(given) or 'none'}"
        raise InvalidRequestError.from_violations([Violation("policy", problem)])
    for field, value in given.items():
        _check_text(f"policy.{field}", value)
    policy = Policy(ref=build_ref(name, version, "policy.ref"))
    for field, value in given.items():
        setattr(policy, field, value)
    return PublishPolicyRequest(policy=policy, cancel_in_flight=cancel_in_flight)


def build_ref(name: str, version: object, path: str = "ref") -> PolicyRef:
    """Return which policy is meant. Raises InvalidRequestError."""
    _check_text(f"{path}.name", name)
    if not isinstance(version, numbers.Integral) or isinstance(version, bool):
        problem = f"expected an integer, got {version!r}"
    elif not 0 <= int(version) <= MAX_VERSION:
        problem = f"must be an integer from 0 to {MAX_VERSION}, got {version}"
    else:
        return PolicyRef(name=name, version=int(version))
    raise InvalidRequestError.from_violations([Violation(f"{path}.version", problem)])


def decode_policy(policy: Policy) -> PublishedPolicy:
    """Return the version. Raises InternalError where the answer breaks the contract."""
    place = policy.WhichOneof("source")
    if place is None:
        raise InternalError("the service sent a policy that is served nowhere")
    return PublishedPolicy(
        name=policy.ref.name,
        version=policy.ref.version,
        endpoint=policy.endpoint if place == "endpoint" else None,
        lora_adapter_path=policy.lora_adapter_path if place == "lora_adapter_path" else None,
        trl_server=policy.trl_server if place == "trl_server" else None,
        published_at=policy.published_at.ToDatetime(tzinfo=UTC),
    )


def _check_text(path: str, value: object) -> None:
    if not isinstance(value, str):
        problem = f"expected a string, got {value!r}"
    elif not value:
        problem = "is empty"
    else:
        return
    raise InvalidRequestError.from_violations([Violation(path, problem)])
