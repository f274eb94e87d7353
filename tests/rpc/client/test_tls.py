"""TLS: roots, names, client certificates, and tokens over it."""

import subprocess

import grpc
import pytest

from foresight import AsyncClient, Client, ServiceUnavailableError, Tls

NAME = "foresight.test"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for `NAME` that is its own authority; return its file and its key's."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def port(serve, certificate):
    """Start a server with the certificate."""
    file, key = certificate
    pair = (key.read_bytes(), file.read_bytes())
    return serve(grpc.ssl_server_credentials([pair]))


async def test_a_call_over_tls_carries_the_token(
    connect, port, certificate, service, request_fields
):
    tls = Tls(root_certificates=certificate[0], server_name=NAME)
    client = connect(f"127.0.0.1:{port}", tls=tls, token="s3cret")
    assert (await client.compute(**request_fields)).values == [0.5, 0.5]
    assert len(await client.stream([request_fields])) == 3
    assert [item["authorization"] for item in service.metadata] == ["Bearer s3cret"] * 2


async def test_a_call_over_tls_needs_no_token(connect, port, certificate, service, request_fields):
    tls = Tls(root_certificates=str(certificate[0]), server_name=NAME)
    await connect(f"127.0.0.1:{port}", tls=tls).compute(**request_fields)
    assert "authorization" not in service.metadata[0]


async def test_a_wrong_name_is_refused(connect, port, certificate, service, request_fields):
    tls = Tls(root_certificates=certificate[0], server_name="another.test")
    client = connect(f"127.0.0.1:{port}", tls=tls, token="s3cret", max_attempts=1)
    with pytest.raises(ServiceUnavailableError, match="(?i)hostname verification|peer name"):
        await client.compute(**request_fields)
    assert service.requests == []


async def test_an_unknown_authority_is_refused(connect, port, service, request_fields):
    client = connect(f"127.0.0.1:{port}", tls=Tls(server_name=NAME), max_attempts=1)
    with pytest.raises(ServiceUnavailableError, match="(?i)certificate|handshake"):
        await client.compute(**request_fields)
    assert service.requests == []


async def test_mutual_tls(connect, serve, certificate, service, request_fields):
    file, key = certificate
    pair = (key.read_bytes(), file.read_bytes())
    credentials = grpc.ssl_server_credentials(
        [pair], root_certificates=file.read_bytes(), require_client_auth=True
    )
    target = f"127.0.0.1:{serve(credentials)}"
    with_key = Tls(root_certificates=file, certificate=file, private_key=key, server_name=NAME)
    rewards = await connect(target, tls=with_key).compute(**request_fields)
    assert rewards.values == [0.5, 0.5]
    without = Tls(root_certificates=file, server_name=NAME)
    with pytest.raises(ServiceUnavailableError):
        await connect(target, tls=without, max_attempts=1).compute(**request_fields)


@pytest.mark.parametrize("half", [{"certificate": "c.pem"}, {"private_key": "k.pem"}])
def test_a_certificate_needs_its_key(half):
    with pytest.raises(ValueError, match="belong together"):
        Tls(**half)


async def test_a_missing_file_is_named(request_fields, tmp_path):
    missing = tmp_path / "missing.pem"
    with pytest.raises(FileNotFoundError, match="missing.pem"):
        Client("localhost:1", tls=Tls(root_certificates=missing)).send(request_fields)
    with pytest.raises(FileNotFoundError, match="missing.pem"):
        await AsyncClient("localhost:1", tls=Tls(root_certificates=missing)).send(request_fields)
