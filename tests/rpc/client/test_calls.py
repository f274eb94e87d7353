"""Calls: retries, deadlines, tokens, cancellation, and what a client holds."""

import asyncio
import pickle
import threading

import grpc
import pytest

from foresight import AsyncClient, Client, DeadlineExceededError, ForesightError, Tls, build_request

Code = grpc.StatusCode


async def test_a_request_arrives_as_it_was_given(connect, target, service, request_fields):
    rewards = await connect(target).compute(
        **request_fields,
        objective={"profile": "release"},
        simulation={"seed": 7},
        request_id="mine",
        include_futures=True,
    )
    assert rewards.request_id == "mine"
    assert service.requests == [
        build_request(
            request_fields
            | {
                "objective": {"profile": "release"},
                "simulation": {"seed": 7},
                "request_id": "mine",
                "include_futures": True,
            }
        )
    ]


async def test_a_whole_request_is_a_message_or_a_mapping(connect, target, service, request_fields):
    client = connect(target)
    await client.send(request_fields)
    await client.send(build_request(request_fields))
    assert service.requests == [build_request(request_fields)] * 2


def fail_first(service, times, code):
    """Let `service` fail its first calls."""

    def compute(request, context):
        if len(service.requests) <= times:
            context.abort(code, "not now")
        return service.half(request, context)

    service.compute = compute


async def test_unavailable_is_tried_again(connect, target, service, request_fields):
    fail_first(service, 2, Code.UNAVAILABLE)
    rewards = await connect(target).compute(**request_fields)
    assert rewards.values == [0.5, 0.5]
    assert len(service.requests) == 3


async def test_a_large_request_is_tried_again_too(connect, serve, service, request_fields):
    fail_first(service, 1, Code.UNAVAILABLE)
    large = request_fields | {"candidates": ["x" * (1024 * 1024)] * 2}
    await connect(f"127.0.0.1:{serve()}").compute(**large)
    assert len(service.requests) == 2


@pytest.mark.parametrize("max_attempts", [1, 2])
async def test_attempts_are_limited(connect, target, service, request_fields, max_attempts):
    fail_first(service, 9, Code.UNAVAILABLE)
    with pytest.raises(ForesightError, match="not now"):
        await connect(target, max_attempts=max_attempts).compute(**request_fields)
    assert len(service.requests) == max_attempts


@pytest.mark.parametrize(
    "code",
    [code for code in Code if code not in (Code.OK, Code.UNAVAILABLE)],
    ids=lambda code: code.name,
)
async def test_nothing_else_is_tried_again(connect, target, service, request_fields, code):
    fail_first(service, 1, code)
    with pytest.raises(ForesightError, match="not now"):
        await connect(target).compute(**request_fields)
    assert len(service.requests) == 1


@pytest.mark.parametrize("where", ["client", "call"])
async def test_a_deadline_ends_a_call(connect, target, service, request_fields, where):
    service.compute = service.hang
    on_client, on_call = ({"timeout": 0.3}, {}) if where == "client" else ({}, {"timeout": 0.3})
    with pytest.raises(DeadlineExceededError, match=target):
        await connect(target, **on_client).compute(**request_fields, **on_call)
    # A machine that is busy may not get as far as the service in that time.
    assert not service.metadata or await asyncio.to_thread(service.ended.wait, 30)


async def test_every_call_carries_a_deadline(connect, target, service, request_fields):
    client = connect(target)
    await client.compute(**request_fields)
    await client.compute(**request_fields, timeout=50)
    await client.stream([request_fields], timeout=50)
    await client.stream([request_fields])
    first, second, third, fourth = service.time_remaining
    assert 500 < first <= 601
    assert 0 < second <= 51
    assert 0 < third <= 51
    assert 500 < fourth <= 601


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True])
@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_a_call_without_a_deadline_is_refused(cls, timeout):
    with pytest.raises(ValueError, match="timeout must be a positive, finite number"):
        cls("localhost:1", timeout=timeout)
    with pytest.raises(ValueError, match="timeout must be a positive, finite number"):
        cls("localhost:1").stream_rewards([], timeout=timeout)


@pytest.mark.parametrize("max_attempts", [0, 6])
def test_attempts_that_grpc_would_not_make_are_refused(max_attempts):
    with pytest.raises(ValueError, match="max_attempts must be from 1 to 5"):
        Client("localhost:1", max_attempts=max_attempts)


@pytest.mark.parametrize("target", ["", "http://localhost:1", "https://foresight"])
def test_targets_that_grpc_cannot_read_are_refused(target):
    with pytest.raises(ValueError, match="^target "):
        Client(target)


async def test_a_token_arrives(connect, target, service, request_fields):
    client = connect(target, token="s3cret")
    await client.compute(**request_fields)
    await client.stream([request_fields])
    assert [item["authorization"] for item in service.metadata] == ["Bearer s3cret"] * 2


async def test_no_token_no_metadata(connect, target, service, request_fields):
    await connect(target).compute(**request_fields)
    assert "authorization" not in service.metadata[0]


LOCAL = [
    "localhost",
    "localhost:50051",
    "127.0.0.1:50051",
    "127.8.8.8:1",
    "[::1]:50051",
    "::1",
    "dns:localhost:1",
    "dns:///localhost:1",
    "ipv4:127.0.0.1:1,127.0.0.2:2",
    "ipv6:[::1]:1",
    "unix:/run/foresight.sock",
    "unix:///run/foresight.sock",
    "unix-abstract:foresight",
]
REMOTE = [
    "foresight:50051",
    "10.0.0.1:50051",
    "::1:50051",
    "[10.0.0.1]:50051",
    "localhost:1,10.0.0.1:1",
    "0.0.0.0:50051",
    "localhost.example.com:1",
    "127.0.0.1.example.com:1",
    "[2001:db8::1]:1",
    "dns:///foresight:1",
    "dns://8.8.8.8/localhost:1",
    "ipv4:127.0.0.1:1,10.0.0.1:2",
    "xds:///localhost",
]


@pytest.mark.parametrize("target", LOCAL)
def test_a_token_without_tls_stays_on_this_machine(target):
    Client(target, token="s3cret")


@pytest.mark.parametrize("cls", [Client, AsyncClient])
@pytest.mark.parametrize("target", REMOTE)
def test_a_token_without_tls_never_leaves_this_machine(cls, target):
    with pytest.raises(ValueError, match="in plaintext: give tls") as caught:
        cls(target, token="s3cret")
    assert "s3cret" not in str(caught.value)
    cls(target, token="s3cret", tls=Tls(server_name="foresight"))
    cls(target)


async def test_a_proxy_never_sees_a_local_call(connect, target, request_fields, monkeypatch):
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await connect(target, token="s3cret", max_attempts=1).compute(**request_fields)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "žluť"])
def test_a_token_that_cannot_travel_is_refused(token):
    with pytest.raises(ValueError, match="^token must be visible ASCII") as caught:
        Client("localhost:1", token=token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_a_repr_hides_the_token(cls):
    client = cls("localhost:50051", token="s3cret", tls=Tls(server_name="foresight.test"))
    assert repr(client) == (
        f"{cls.__name__}('localhost:50051', tls=Tls(root_certificates=None, certificate=None, "
        "private_key=None, server_name='foresight.test'), token=<hidden>, timeout=600.0, "
        "max_attempts=4)"
    )
    assert "s3cret" not in repr(vars(client))


async def test_cancelling_an_async_call_cancels_it_in_the_service(target, service, request_fields):
    service.compute = service.hang
    async with AsyncClient(target) as client:
        call = asyncio.create_task(client.compute_rewards(**request_fields))
        await asyncio.to_thread(service.hanging.wait, 30)
        assert not service.ended.is_set()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(service.ended.wait, 30)


async def test_a_used_client_is_pickled_without_its_channel(
    connect, target, service, request_fields
):
    client = connect(target, token="s3cret", timeout=50, max_attempts=2)
    fresh = pickle.loads(pickle.dumps(client.client))
    await client.compute(**request_fields)
    used = pickle.loads(pickle.dumps(client.client))
    for copy in (fresh, used):
        assert repr(copy) == repr(client.client)
        client.client, original = copy, client.client
        await client.compute(**request_fields)
        await client.close()
        client.client = original
    await client.compute(**request_fields)
    assert [item["authorization"] for item in service.metadata] == ["Bearer s3cret"] * 4


async def test_a_closed_client_refuses_calls(connect, target, request_fields):
    client = connect(target)
    await client.compute(**request_fields)
    await client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        await client.compute(**request_fields)
    await client.close()


async def test_leaving_the_context_closes(target, request_fields):
    with Client(target) as client:
        assert (await asyncio.to_thread(client.send, request_fields)).values == [0.5, 0.5]
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.send(request_fields)
    async with AsyncClient(target) as aio:
        assert (await aio.send(request_fields)).values == [0.5, 0.5]
    with pytest.raises(RuntimeError, match="the client is closed"):
        await aio.send(request_fields)


def test_threads_share_one_channel(target, service, request_fields):
    with Client(target) as client:
        threads = [threading.Thread(target=client.send, args=[request_fields]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(service.requests) == 8


async def test_an_async_client_belongs_to_one_loop(target, request_fields):
    async with AsyncClient(target) as client:
        await client.send(request_fields)
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await asyncio.to_thread(asyncio.run, client.send(request_fields))


def test_an_async_client_outlives_a_closed_loop(target, request_fields):
    client = AsyncClient(target)
    for _ in range(2):
        assert asyncio.run(client.send(request_fields)).values == [0.5, 0.5]
    asyncio.run(client.close())
