"""How Redis is asked: round trips, connections, cancelled callers, who is let in."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from foresight_services.cache.redis_access import RedisAccess, RedisTls
from foresight_services.cache.redis_place import parse_place
from tests.cache.certificates import make_certificate
from tests.cache.recording import key, keys, redis_cache
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.waiting import eventually

LONG = 1000.0


async def test_cancelled_callers_never_mix_up_answers(shared_server, recorder):
    store = redis_cache(shared_server.url, recorder, settings={"at_once": 4})
    rng = random.Random(0)
    values = {key(n): rng.randbytes(rng.choice((10, 3000, 60_000))) for n in range(60)}
    await store.put_many(values)

    async def reads(asked) -> int:
        for one, found in zip(asked, await store.get_many(asked), strict=True):
            assert found == values[one]
        return len(asked)

    async def leases(asked, owner: str) -> int:
        free = [key(int.from_bytes(one.digest[:4], "big"), "free") for one in asked]
        assert await store.acquire_many([*asked, *free], owner, LONG) == set(free)
        assert await store.renew_many(free, owner, LONG) == set(free)
        await store.release_many(free, owner)
        return 0

    cancelled = 0
    for number in range(150):
        tasks = [
            asyncio.create_task(reads(rng.sample(list(values), rng.randrange(1, 12))))
            for _ in range(12)
        ]
        tasks.append(asyncio.create_task(leases(rng.sample(list(values), 2), f"owner-{number}")))
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
        for task in rng.sample(tasks[:-1], 8):
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in done:
            if not isinstance(outcome, asyncio.CancelledError):
                assert isinstance(outcome, int), outcome
        cancelled += sum(isinstance(outcome, asyncio.CancelledError) for outcome in done)
    assert list(await store.get_many(list(values))) == list(values.values())
    await store.close()
    assert cancelled > 300
    assert not recorder.faults and not recorder.bypasses


async def test_calls_that_ran_out_of_time_never_mix_up_answers(shared_server, recorder):
    rng = random.Random(1)
    async with fault_proxy(shared_server.port) as proxy:
        pause = {"failures": 10**9}
        settings = {"at_once": 3, "timeout_seconds": 0.02}
        url = f"redis://127.0.0.1:{proxy.port}"
        sure = redis_cache(shared_server.url, recorder, prefix="late")
        values = {key(n): rng.randbytes(5000) for n in range(40)}
        await sure.put_many(values)
        store = redis_cache(url, recorder, prefix="late", settings=settings, outage=pause)

        async def reads(seed: int) -> None:
            own, rounds = random.Random(seed), 0
            while rounds < 40 or not (recorder.faults["timeout"] and recorder.hits):
                rounds += 1
                asked = own.sample(list(values), 5)
                for one, found in zip(asked, await store.get_many(asked), strict=True):
                    assert found in (None, values[one])

        async def stalls() -> None:
            while True:
                proxy.stall()
                await asyncio.sleep(0.03)
                proxy.go_on()
                await asyncio.sleep(0.03)

        stalling = asyncio.create_task(stalls())
        async with asyncio.timeout(120):
            await asyncio.gather(*(reads(seed) for seed in range(8)))
        stalling.cancel()
        proxy.go_on()
        await store.close()
        await sure.close()


async def test_a_group_is_one_round_trip(shared_server, recorder):
    """The proxy lets each answer through whole, so one piece of a question is one round trip."""
    asked = keys(*range(24))
    async with fault_proxy(shared_server.port) as proxy:
        store = redis_cache(f"redis://127.0.0.1:{proxy.port}", recorder, settings={"at_once": 1})
        await store.put_many({one: b"value" for one in asked})
        before = proxy.turns
        await store.get_many(asked)
        await store.put_many({one: b"value" for one in asked})
        await store.acquire_many(keys(*range(100, 124)), "me", LONG)
        await store.renew_many(keys(*range(100, 124)), "me", LONG)
        await store.release_many(keys(*range(100, 124)), "me")
        assert proxy.turns - before == 5
        await store.close()


async def test_connections_are_bounded(shared_server, recorder):
    async with fault_proxy(shared_server.port) as proxy:
        store = redis_cache(f"redis://127.0.0.1:{proxy.port}", recorder, settings={"at_once": 4})
        await store.acquire_many(keys(1), "me", LONG)
        waits = [asyncio.create_task(store.wait_any(keys(1), LONG)) for _ in range(1000)]
        await store._news.listening.wait()
        found = await asyncio.gather(*(store.get_many(keys(n)) for n in range(500)))
        assert found == [[None]] * 500
        assert proxy.connections <= 4 + 1
        await store.release_many(keys(1), "me")
        assert await asyncio.gather(*waits) == [set(keys(1))] * 1000
        await store.close()
        await eventually(lambda: proxy.open_connections == 0)
    assert not recorder.faults


async def test_an_acl_user_needs_only_what_docs_say(own_server, recorder):
    own_server.ask(
        *("ACL", "SETUSER", "foresight", "on", ">s3cret", "~fs:*", "resetchannels", "&fs:*"),
        *("-@all", "+mget", "+get", "+set", "+exists", "+pttl", "+pexpire", "+del", "+eval"),
        *("+publish", "+subscribe", "+unsubscribe", "+select", "+ping"),
    )
    own_server.ask("ACL", "SETUSER", "default", "off")
    given: dict[str, Any] = {"username": "foresight", "password": "s3cret"}
    store = redis_cache(own_server.url, recorder, prefix="fs", **given)
    await store.put_many({key(1): b"value"})
    assert list(await store.get_many(keys(1))) == [b"value"]
    assert await store.acquire_many(keys(1, 2), "me", LONG) == set(keys(2))
    assert await store.renew_many(keys(2), "me", LONG) == set(keys(2))
    waits = asyncio.create_task(store.wait_any(keys(2), LONG))
    await store._news.listening.wait()
    await store.release_many(keys(2), "me")
    assert await waits == set(keys(2))
    await store.close()
    assert not recorder.faults
    for wrong in ({}, {**given, "password": "other"}):
        refused = redis_cache(own_server.url, recorder, prefix="fs", **wrong)
        assert list(await refused.get_many(keys(1))) == [None]
        assert await refused.acquire_many(keys(1), "me", LONG) == set(keys(1))
        await refused.close()
    outside = redis_cache(own_server.url, recorder, prefix="elsewhere", **given)
    assert list(await outside.get_many(keys(1))) == [None]
    await outside.close()
    assert recorder.faults == {"refused": 5}


async def test_a_server_with_another_certificate_is_not_spoken_with(
    tmp_path, shared_server, recorder
):
    right, wrong = (make_certificate(tmp_path, name) for name in ("right", "wrong"))
    async with fault_proxy(shared_server.port, wrong.server()) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}"
        store = redis_cache(url, recorder, tls=RedisTls(ca_path=str(right.file)))
        assert list(await store.get_many(keys(1))) == [None]
        await store.close()
        assert proxy.connections == 0
    assert recorder.faults == {"connection": 1}


async def test_ten_thousand_wait(shared_server, recorder):
    count = 10_000
    async with fault_proxy(shared_server.port) as proxy:
        prefix = "many"
        store = redis_cache(f"redis://127.0.0.1:{proxy.port}", recorder, prefix=prefix)
        other = redis_cache(shared_server.url, recorder, prefix=prefix)
        asked = keys(*range(count))
        for start in range(0, count, 500):
            await other.acquire_many(asked[start : start + 500], "me", LONG)
        waits = [asyncio.create_task(store.wait_any([one], LONG)) for one in asked]
        await store._news.listening.wait()
        for start in range(0, count, 500):
            await other.put_many({one: b"value" for one in asked[start : start + 500]})
        assert await asyncio.gather(*waits) == [{one} for one in asked]
        assert proxy.connections <= 2
        await store.close()
        await other.close()


def test_no_secret_is_told():
    place = parse_place("redis://127.0.0.1:1")
    told = repr(RedisAccess(place, "name", "s3cret", "other", "s3cret"))
    assert "s3cret" not in told and "name" in told
