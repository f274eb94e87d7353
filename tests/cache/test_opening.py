"""What the configuration allows, and the store that comes of it."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from foresight_services.cache.disk import DiskCache
from foresight_services.cache.memory import MemoryCache
from foresight_services.cache.opening import open_cache, redis_access
from foresight_services.cache.redis import RedisCache
from foresight_services.cache.redis_place import RedisPlace, parse_place
from foresight_services.config.cache import CacheConfig
from foresight_services.core.errors import Precondition
from tests.cache.recording import key, keys
from tests.fakes.virtual_time import LoopClock


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost:6379/0", RedisPlace("standalone", (("localhost", 6379),))),
        ("redis://cache", RedisPlace("standalone", (("cache", 6379),))),
        ("rediss://cache:1/12", RedisPlace("standalone", (("cache", 1),), tls=True, db=12)),
        ("redis://[::1]:7/", RedisPlace("standalone", (("::1", 7),))),
        ("unix:///run/r.sock", RedisPlace("standalone", (), socket_path="/run/r.sock")),
        ("unix:///run/r.sock?db=3", RedisPlace("standalone", (), db=3, socket_path="/run/r.sock")),
        (
            "redis+sentinel://a:1,b/main/2",
            RedisPlace("sentinel", (("a", 1), ("b", 26379)), db=2, service="main"),
        ),
        ("rediss+sentinel://a/m", RedisPlace("sentinel", (("a", 26379),), tls=True, service="m")),
        ("redis+cluster://a,b:2", RedisPlace("cluster", (("a", 6379), ("b", 2)))),
        ("rediss+cluster://a/0", RedisPlace("cluster", (("a", 6379),), tls=True)),
    ],
)
def test_urls_are_read(url, place):
    assert parse_place(url) == place
    assert CacheConfig(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://cache",
        "cache:6379",
        "redis://",
        "redis://:6379",
        "redis://user:s3cret@cache",
        "rediss://:s3cret@cache:1/0",
        "redis://a,b",
        "redis://cache:0",
        "redis://cache:70000",
        "redis://cache/x",
        "redis://cache/1/2",
        "redis://cache?password=s3cret",
        "redis://cache#s3cret",
        "redis+sentinel://a",
        "redis+sentinel://a/main/1/2",
        "redis+cluster://a/1",
        "unix://host/path",
        "unix:///path?password=s3cret",
        "unix:///path?db=1&db=2",
    ],
)
def test_wrong_urls_are_told_without_secrets(url):
    with pytest.raises(ValidationError) as refused:
        CacheConfig(url=url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.errors()[0]["type"] == "redis_url"


@pytest.mark.parametrize(
    "given",
    [
        {"url": "redis://a", "path": "/tmp/cache"},
        {"url": "redis://a", "max_bytes": 2**30},
        {"max_bytes": 100},
        {"ttl_seconds": 0},
        {"ttl_jitter": 1.0},
        {"timeout_ms": 0},
        {"timeout_ms": "200"},
        {"pool_size": 0},
        {"key_prefix": "a b"},
        {"key_prefix": "{tag}"},
        {"tls": {"certificate_path": "only.pem"}},
        {"password": "s3cret"},
    ],
)
def test_what_makes_no_sense_is_refused(given):
    with pytest.raises(ValidationError) as refused:
        CacheConfig(**given)
    assert "s3cret" not in str(refused.value)


async def opened(config: CacheConfig, recorder, environment=None):
    return await open_cache(
        config,
        environment=environment or {},
        clock=LoopClock(),
        rng=random.Random(0),
        observer=recorder,
    )


@pytest.mark.parametrize("kind", [MemoryCache, DiskCache, RedisCache])
async def test_the_store_is_the_one_asked_for(kind, tmp_path, shared_server, recorder):
    config = {
        MemoryCache: CacheConfig(),
        DiskCache: CacheConfig(path=str(tmp_path / "cache")),
        RedisCache: CacheConfig(
            url=shared_server.url, timeout_ms=60_000, connect_timeout_ms=60_000
        ),
    }[kind]
    store = await opened(config, recorder)
    assert isinstance(store, kind)
    await store.put_many({key(1): b"value"})
    assert list(await store.get_many(keys(1))) == [b"value"]
    await store.close()


async def test_the_password_comes_from_the_environment(recorder):
    config = CacheConfig(
        url="redis+sentinel://a/main",
        username="user",
        password_env="REDIS_PASSWORD",
        sentinel_password_env="SENTINEL_PASSWORD",
    )
    environment = {"REDIS_PASSWORD": "s3cret", "SENTINEL_PASSWORD": "s3cret too"}
    access = redis_access(config, environment)
    assert (access.password, access.sentinel_password) == ("s3cret", "s3cret too")
    assert "s3cret" not in repr(access) + repr(config)
    with pytest.raises(Precondition, match="names REDIS_PASSWORD, which is not set"):
        await opened(config, recorder, {"SENTINEL_PASSWORD": "s3cret"})
