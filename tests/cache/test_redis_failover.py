"""Servers that change their roles, and slots that change their servers."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.cache.recording import key, keys, redis_cache
from tests.cache.trouble import LONG, NO_PAUSE, until_it_works
from tests.fakes.redis_server import free_port, redis_cluster, redis_sentinels, redis_server, until


def _follows(replica) -> bool:
    return replica.ask("INFO", "replication").get("master_link_status") == "up"


async def test_a_read_only_server_is_a_failover(tmp_path, own_server, recorder):
    with redis_server(tmp_path, "--replicaof", "127.0.0.1", str(own_server.port)) as replica:
        until(lambda: _follows(replica))
        store = redis_cache(replica.url, recorder, outage=NO_PAUSE)
        await store.put_many({key(1): b"value"})
        assert await store.acquire_many(keys(1), "me", LONG) == set(keys(1))
        assert list(await store.get_many(keys(1))) == [None]
        assert recorder.faults == {"failover": 2}
        replica.ask("REPLICAOF", "NO", "ONE")
        await until_it_works(store)
        await store.close()


async def test_sentinels_name_the_next_master(tmp_path, recorder):
    with redis_sentinels(tmp_path) as ((master, _), sentinels):
        gone = free_port()
        nodes = ",".join(f"127.0.0.1:{port}" for port in (gone, *(s.port for s in sentinels)))
        settings = {"timeout_seconds": 2.0}
        store = redis_cache(
            f"redis+sentinel://{nodes}/main/0", recorder, settings=settings, outage=NO_PAUSE
        )
        await until_it_works(store, 1)
        recorder.faults.clear()
        master.kill()
        await until_it_works(store, 2)
        await store.close()
    assert set(recorder.faults) <= {"connection", "failover", "timeout"} and recorder.faults


async def test_a_cluster_whose_master_dies(tmp_path, recorder):
    with redis_cluster(tmp_path, masters=3, replicas=1) as servers:
        store = redis_cache(
            f"redis+cluster://127.0.0.1:{servers[1].port}",
            recorder,
            settings={"timeout_seconds": 2.0},
            outage=NO_PAUSE,
        )
        numbers = range(60)
        values = {key(n): b"value" for n in numbers}
        await store.put_many(values)
        assert None not in await store.get_many(list(values))
        servers[0].kill()
        found = await store.get_many(list(values))
        assert 0 < sum(value is None for value in found) < 60
        async with asyncio.timeout(60):
            while None in await store.get_many(list(values)):
                await store.put_many(values)
                await asyncio.sleep(0.02)
        await store.close()
    assert set(recorder.faults) <= {"connection", "failover", "timeout"} and recorder.faults


async def test_slots_that_move_are_followed(tmp_path, recorder):
    with redis_cluster(tmp_path, masters=2) as (first, second):
        store = redis_cache(f"redis+cluster://127.0.0.1:{first.port}", recorder)
        await store.put_many({key(n): b"value" for n in range(40)})
        name = {n: store._name(key(n)) for n in range(40)}
        slots: dict[int, Any] = {n: first.ask("CLUSTER", "KEYSLOT", name[n]) for n in name}
        owner: Any = first.ask("CLUSTER", "MYID")
        heir: Any = second.ask("CLUSTER", "MYID")
        moved = [n for n, slot in slots.items() if slot < 8192]
        for number in moved:
            first.ask("DEL", name[number])
            second.ask("CLUSTER", "SETSLOT", slots[number], "IMPORTING", owner)
            first.ask("CLUSTER", "SETSLOT", slots[number], "MIGRATING", heir)
            for server in (second, first):
                server.ask("CLUSTER", "SETSLOT", slots[number], "NODE", heir)
        assert moved
        await store.put_many({key(n): b"again" for n in range(40)})
        assert list(await store.get_many(keys(*range(40)))) == [b"again"] * 40
        await store.close()
    assert not set(recorder.faults) - {"failover"}
