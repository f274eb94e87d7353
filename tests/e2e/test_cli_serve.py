"""`foresight serve` in processes of its own: ready, drained, stopped, refused."""

import json
import signal
import urllib.request
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from foresight import Client, FutureEvent, GroupEvent
from foresight.errors import ServiceUnavailableError
from tests.e2e.cli_process import ROOT, foresight, serving

pytestmark = pytest.mark.e2e

REMOTE = ROOT / "examples" / "remote.yaml"
CANDIDATES = ["Is it alive?", "Is it a dog?"]
GROUP = {
    "task": {"preset": "twenty_questions"},
    "prefix": [{"role": "user", "content": "You have 20 turns."}],
    "candidates": CANDIDATES,
    "simulation": {"horizon_messages": 40, "samples": {"max": 512}},
}
ENDLESS = GROUP | {
    "candidates": CANDIDATES * 8,
    "simulation": {"horizon_messages": 40, "samples": {"max": 1024}},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "foresight.yaml"
    path.write_text("services: {drain_notice_seconds: 0}\n")
    return path


def status(address):
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status


def test_all_answers_measures_refuses_a_second_one_and_ends(config):
    with serving("all", config=config) as service:
        service.out.wait_for("^all is ready$")
        ran = foresight("score", REMOTE, "--target", service.address, "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(ran.stdout)["candidates"][0]["n_ok"] == 16
        with urllib.request.urlopen(f"http://{service.metrics}/metrics", timeout=10) as page:
            assert b'foresight_reward_seconds_count{status="complete"} 2.0' in page.read()
        for options, field in (
            (("--listen", service.address, "--metrics", "none"), "listen"),
            (("--listen", "127.0.0.1:0", "--metrics", service.metrics), "metrics"),
        ):
            ran = foresight("serve", "all", *options)
            assert ran.returncode == 2
            assert ran.stdout == ""
            assert ran.stderr.startswith(f"{field}: cannot listen on ")
            assert len(ran.stderr.splitlines()) == 1
        service.send(signal.SIGINT)
        assert service.wait() == 0
        assert len(service.out.rest()) == 2
        assert "Traceback" not in "\n".join(service.err.rest())


def test_sigterm_lets_a_request_finish(config):
    with serving("all", config=config) as service, Client(service.address) as client:
        events = client.stream_rewards([GROUP], progress=True)
        assert isinstance(next(events), FutureEvent)
        service.send(signal.SIGTERM)
        service.err.wait_for("draining")
        *_, last = events
        assert isinstance(last, GroupEvent) and last.rewards is not None
        assert [one.n_ok for one in last.rewards] == [512, 512]
        assert service.wait() == 0


def test_a_second_signal_stops_at_once(config):
    with serving("all", config=config) as service, Client(service.address) as client:
        events = client.stream_rewards([ENDLESS], progress=True)
        next(events)
        service.send(signal.SIGINT)
        service.err.wait_for("draining")
        service.send(signal.SIGTERM)
        assert service.wait() == 128 + signal.SIGTERM
        with pytest.raises(ServiceUnavailableError):
            list(events)
        assert "Traceback" not in "\n".join(service.err.rest())


def test_a_caller_that_leaves_leaves_no_work_behind(config):
    with serving("all", config=config) as service:
        with Client(service.address) as client:
            events = client.stream_rewards([ENDLESS], progress=True)
            next(events)
            events.close()
        service.send(signal.SIGTERM)
        # Were the work still going on, this would take a minute of grace and then cancel it.
        assert service.wait() == 0


def test_reward_waits_for_its_peers_and_says_so(config):
    peers = ("--simulator", "127.0.0.1:1", "--evaluator", "127.0.0.1:2")
    with serving("reward", *peers, config=config) as service:
        waited = {service.err.wait_for(r"waiting for the (\w+ at \S+)$")[1] for _ in peers[::2]}
        assert waited == {"simulator at 127.0.0.1:1", "evaluator at 127.0.0.1:2"}
        assert status(service.address) == health_pb2.HealthCheckResponse.NOT_SERVING
        service.send(signal.SIGTERM)
        assert service.wait() == 0
        assert len(service.out.rest()) == 1


def test_three_processes_are_one_service_and_want_the_token(config):
    token = {"FORESIGHT_TOKEN": "s3cret"}
    with (
        serving("simulator", config=config, env=token) as simulator,
        serving("evaluator", config=config, env=token) as evaluator,
        serving(
            *("reward", "--simulator", simulator.address, "--evaluator", evaluator.address),
            config=config,
            env=token,
        ) as reward,
    ):
        reward.out.wait_for("^reward is ready$")
        assert status(reward.address) == health_pb2.HealthCheckResponse.SERVING
        refused = foresight("score", REMOTE, "--target", reward.address)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1
        ran = foresight("score", REMOTE, "--target", reward.address, "--json", env=token)
        assert (ran.returncode, ran.stderr) == (0, "")
        remote = json.loads(ran.stdout)
        embedded = json.loads(foresight("score", REMOTE, "--json").stdout)
        values = [[one["value"] for one in d["candidates"]] for d in (remote, embedded)]
        assert values[0] == values[1]
        wrong = foresight("score", REMOTE, "--target", simulator.address, env=token)
        assert wrong.returncode == 2
        assert len(wrong.stderr.splitlines()) == 1
