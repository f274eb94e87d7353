"""Who may call: tokens, TLS, and certificates of callers."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pydantic import SecretStr

from foresight.v1 import evaluator_service_pb2_grpc as evaluator_grpc
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight.v1 import simulator_service_pb2 as simulator_pb
from foresight.v1 import simulator_service_pb2_grpc as simulator_grpc
from foresight_services.bootstrap import running
from foresight_services.config import Config, TlsConfig
from foresight_services.core.errors import InvalidInput
from tests.fakes.requests import game
from tests.fakes.servers import channel_to, foresight, loopback, refused, three_services

TOKEN = "a token of 32 characters or so ..."


def guarded(config: Config) -> Config:
    return config.model_copy(update={"token": SecretStr(TOKEN)})


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", f"Bearer {TOKEN} "),),
        (("authorization", f"Bearer {TOKEN[:-1]}"),),
        (("authorization", f"bearer {TOKEN}"),),
        (("authorization", TOKEN),),
        (("authorization", ""),),
        (("token", TOKEN),),
    ],
)
async def test_a_call_without_the_token_is_refused(metadata: Any) -> None:
    async with foresight(guarded(loopback())) as live:
        channel = live.channel
        empty = simulator_pb.SimulateFuturesRequest()
        for call in (
            pb_grpc.RewardServiceStub(channel).ComputeRewards(game(), metadata=metadata),
            pb_grpc.RewardServiceStub(channel).GetReward(pb.GetRewardRequest(), metadata=metadata),
            pb_grpc.RewardServiceStub(channel).StreamRewards(iter(()), metadata=metadata),
            simulator_grpc.SimulatorServiceStub(channel).SimulateFutures(empty, metadata=metadata),
            evaluator_grpc.EvaluatorServiceStub(channel).Evaluate(iter(()), metadata=metadata),
        ):
            refusal = await refused(call)
            assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
            assert "authorization: Bearer <token>" in refusal.message
            assert TOKEN not in refusal.message


async def test_a_call_with_the_token_is_answered() -> None:
    async with foresight(guarded(loopback())) as live:
        answer = await pb_grpc.RewardServiceStub(live.channel).ComputeRewards(
            game(), metadata=(("authorization", f"Bearer {TOKEN}"),)
        )
        assert answer.results[0].n_ok == 8


async def test_probes_need_no_token_and_reflection_does() -> None:
    async with foresight(guarded(loopback())) as live:
        stub: Any = health_pb2_grpc.HealthStub(live.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        channel: Any = live.channel
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        refusal = await refused(reflection.ServerReflectionInfo(asked))
        assert refusal.code == "UNAUTHENTICATED"


async def test_the_services_carry_the_token_to_each_other() -> None:
    async with three_services(guarded(loopback())) as three:
        async with channel_to(three.reward.address) as channel:
            answer = await pb_grpc.RewardServiceStub(channel).ComputeRewards(
                game(), metadata=(("authorization", f"Bearer {TOKEN}"),)
            )
    assert answer.results[0].n_ok == 8


async def test_without_a_configured_token_any_is_welcome() -> None:
    async with foresight(loopback()) as live:
        answer = await pb_grpc.RewardServiceStub(live.channel).ComputeRewards(
            game(), metadata=(("authorization", "Bearer whatever"),)
        )
        assert answer.results[0].n_ok == 8


class Authority:
    """A certificate authority of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=authority"),
            *("-keyout", "ca.key", "-out", "ca.pem"),
        )
        self.ca = folder / "ca.pem"

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return paths of the key and certificate of `name`, valid on loopback."""
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (self._folder / "loopback.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-days", "2", "-out", f"{name}.pem"),
            *("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-extfile", "loopback.ext"),
        )
        return self._folder / f"{name}.key", self._folder / f"{name}.pem"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the services trust."""
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module")
def tls(authority: Authority) -> TlsConfig:
    """TLS as the services are configured with it."""
    key, certificate = authority.issue("service")
    return TlsConfig(
        certificate_path=str(certificate), key_path=str(key), ca_path=str(authority.ca)
    )


def mutual(tls: TlsConfig) -> TlsConfig:
    return tls.model_copy(update={"require_client_certificate": True})


@asynccontextmanager
async def secure_channel(
    address: str, authority: Authority, identity: tuple[Path, Path] | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    key, chain = (None, None) if identity is None else (p.read_bytes() for p in identity)
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, chain)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield channel


async def test_over_tls_a_caller_that_trusts_the_authority_is_answered(
    tls: TlsConfig, authority: Authority
) -> None:
    async with running(loopback(tls=tls), "all") as service:
        async with secure_channel(service.address, authority) as channel:
            answer = await pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
    assert answer.results[0].n_ok == 8


async def test_over_tls_plaintext_and_distrust_get_no_connection(
    tls: TlsConfig, stranger: Authority
) -> None:
    async with running(loopback(tls=tls), "all") as service:
        async with channel_to(service.address) as channel:
            call = pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
            assert (await refused(call)).code == "UNAVAILABLE"
        async with secure_channel(service.address, stranger) as channel:
            call = pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
            assert (await refused(call)).code == "UNAVAILABLE"


async def test_mutual_tls_asks_callers_for_a_certificate_of_the_authority(
    tls: TlsConfig, authority: Authority, stranger: Authority
) -> None:
    async with running(loopback(tls=mutual(tls)), "all") as service:
        for identity in (None, stranger.issue("caller")):
            async with secure_channel(service.address, authority, identity) as channel:
                call = pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
                assert (await refused(call)).code == "UNAVAILABLE"
        identity = authority.issue("caller")
        async with secure_channel(service.address, authority, identity) as channel:
            answer = await pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
    assert answer.results[0].n_ok == 8


async def test_the_services_reach_each_other_over_mutual_tls(
    tls: TlsConfig, authority: Authority
) -> None:
    async with three_services(loopback(tls=mutual(tls))) as three:
        identity = authority.issue("caller")
        async with secure_channel(three.reward.address, authority, identity) as channel:
            answer = await pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
    assert answer.results[0].n_ok == 8


@pytest.mark.parametrize("what", ["all", "reward"])
async def test_files_that_cannot_be_read_are_named(what: Any, tls: TlsConfig) -> None:
    lost = tls.model_copy(update={"key_path": "/nowhere/key", "ca_path": "/nowhere/ca"})
    with pytest.raises(InvalidInput) as refused:
        async with running(loopback(tls=lost), what):
            pass
    assert [v.field for v in refused.value.violations] == [
        "services.tls.key_path",
        "services.tls.ca_path",
    ]
    assert "No such file" in refused.value.violations[0].description


async def test_files_that_are_not_pem_are_refused(tls: TlsConfig, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    wrong = tls.model_copy(update={"certificate_path": str(nonsense)})
    with pytest.raises(InvalidInput, match="TLS not in PEM"):
        async with running(loopback(tls=wrong), "all"):
            pass
