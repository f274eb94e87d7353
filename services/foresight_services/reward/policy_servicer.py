"""PolicyService over gRPC."""

from __future__ import annotations

from foresight.v1 import policy_service_pb2 as pb
from foresight.v1 import policy_service_pb2_grpc as pb_grpc
from foresight_services.core.policies import PolicyRegistry
from foresight_services.rpc import codec
from foresight_services.rpc.deadline import ServerContext
from foresight_services.rpc.policy_codec import decode_source, encode_published


class PolicyServicer(pb_grpc.PolicyServiceServicer):
    """Answers PolicyService's calls."""

    def __init__(self, policies: PolicyRegistry) -> None:
        self._policies = policies

    async def PublishPolicy(
        self, request: pb.PublishPolicyRequest, context: ServerContext
    ) -> pb.PublishPolicyResponse:
        """Register a version."""
        policy = await self._policies.publish(
            codec.decode_policy(request.policy.ref),
            decode_source(request.policy),
            cancel_in_flight=request.cancel_in_flight,
        )
        return pb.PublishPolicyResponse(policy=encode_published(policy))

    async def GetPolicy(
        self, request: pb.GetPolicyRequest, context: ServerContext
    ) -> pb.GetPolicyResponse:
        """Return one version."""
        policy = await self._policies.get(codec.decode_policy(request.ref))
        return pb.GetPolicyResponse(policy=encode_published(policy))

    async def ListPolicies(
        self, request: pb.ListPoliciesRequest, context: ServerContext
    ) -> pb.ListPoliciesResponse:
        """Return the newest version of every policy."""
        newest = await self._policies.newest()
        return pb.ListPoliciesResponse(policies=[encode_published(policy) for policy in newest])
