"""`foresight score` in processes of its own: results, failures, hostile texts, Ctrl-C."""

import json
import os
import re
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from tests.e2e.cli_process import ROOT, foresight, started

pytestmark = pytest.mark.e2e

TWENTY_QUESTIONS = ROOT / "examples" / "twenty_questions.yaml"
GROCERIES = ROOT / "examples" / "groceries.yaml"
REMOTE = ROOT / "examples" / "remote.yaml"

HUGE = json.dumps(
    {
        "task": {"preset": "twenty_questions"},
        "prefix": [{"role": "user", "content": "You have 20 turns."}],
        "candidates": ["Is it alive?"] * 16,
        "simulation": {"horizon_messages": 40, "samples": {"max": 1024}},
    }
)
"""Half a minute of work, which no test waits for."""


def without_time(document):
    """Return the document less what no two runs share: seconds that things took, and ids."""
    if isinstance(document, dict):
        return {
            k: without_time(v) for k, v in document.items() if k not in ("seconds", "reward_id")
        }
    return [without_time(v) for v in document] if isinstance(document, list) else document


def test_file_and_stdin_yaml_and_json_text_agree():
    from_file = foresight("score", TWENTY_QUESTIONS, "--json")
    from_stdin = foresight("score", "-", "--json", stdin=TWENTY_QUESTIONS.read_text())
    as_text = foresight("score", TWENTY_QUESTIONS)
    for ran in (from_file, from_stdin, as_text):
        assert (ran.returncode, ran.stderr) == (0, "")
    document = json.loads(from_file.stdout)
    assert without_time(json.loads(from_stdin.stdout)) == without_time(document)
    assert document["best"] == [0]
    first = document["candidates"][0]
    assert (first["n_ok"], first["n_requested"], first["status"]) == (32, 32, "complete")
    assert len(first["futures"]) == 32
    assert first["futures"][0]["messages"] == []
    row = next(line for line in as_text.stdout.splitlines() if "Is it a mammal?" in line)
    assert f"{first['value']:.3f} ± {first['stderr']:.3f}" in row
    assert re.search(r"^Cost: \d+ messages simulated; judge \d+ calls", as_text.stdout, re.M)


def test_options_override_the_file():
    ran = foresight(
        *("score", TWENTY_QUESTIONS, "--json", "--horizon", 0, "--samples", 5, "--seed", 11),
        *("--policy", "guesser", "--timeout", 30),
    )
    document = json.loads(ran.stdout)
    assert document["best"] == [2] or document["candidates"][2]["metrics"]["success"]["mean"] == 0
    assert {one["n_requested"] for one in document["candidates"]} == {5}
    assert document["candidates"][0]["futures"][0]["policy"]["name"] == "guesser"
    assert document["usage"]["messages"] == 0


def test_conversations_are_shown_on_demand():
    ran = foresight("score", REMOTE, "--show-futures", "--samples", 2)
    assert ran.returncode == 0
    assert "goal: address: 7 Mill Road; diet: vegan; allergies: nuts" in ran.stdout
    assert "\n    user      Please deliver to 7 Mill Road." in ran.stdout
    document = json.loads(foresight("score", REMOTE, "--json", "--samples", 1).stdout)
    assert document["request_id"] == "example-remote"
    assert document["candidates"][0]["futures"][0]["messages"][0]["role"] == "user"


def test_hostile_texts_are_shown_as_they_are_and_do_nothing(tmp_path):
    hostile = "\x1b[2J\x1b]0;pwned\x07[bold red]x[/bold red] :bomb:\r\nCandidate 9\n\u202e \x9b1A"
    request = {
        "task": {"preset": "groceries"},
        "prefix": [{"role": "user", "content": "Can you help me buy groceries?"}],
        "candidates": [hostile, "I'll place the order now."],
        "simulation": {"horizon_messages": 1, "samples": {"max": 1}},
    }
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(request))
    ran = foresight("score", path, "--show-futures")
    assert ran.returncode == 0, ran.stderr
    assert not set(ran.stdout) & set("\x1b\x07\r\x9b\u202e")
    assert r"\x1b[2J\x1b]0;pwned\x07[bold red]x[/bold red] :bomb:" in ran.stdout
    # A line of a message can not pass for one of ours.
    assert "\nCandidate 9" not in ran.stdout
    as_json = foresight("score", path, "--json").stdout
    assert as_json.isascii() and "\x1b" not in as_json
    assert json.loads(as_json)["candidates"][0]["candidate"] == hostile


class FailingService(pb_grpc.RewardServiceServicer):
    """Has no value for the second candidate, and hangs where a request has three."""

    def __init__(self):
        self.over = threading.Event()

    def ComputeRewards(self, request, context):
        raise NotImplementedError

    def GetReward(self, request, context):
        raise NotImplementedError

    def RescoreReward(self, request, context):
        raise NotImplementedError

    def StreamRewards(self, requests, context):
        request = next(requests)
        group = request.group
        if len(group.candidates) == 3:
            while context.is_active():
                self.over.wait(0.05)
            return
        reward = pb.Reward(value=0.5, status=pb.REWARD_STATUS_COMPLETE)
        good = pb.CandidateResult(reward=reward, n_ok=2, n_requested=2)
        yield self.event(request, candidate=good)
        info = AnyMessage()
        info.Pack(ErrorInfo(reason="TOO_FEW_FUTURES", domain="foresight.v1"))
        error = Status(code=14, message="0 of 2 futures \x1b[31m", details=[info])
        yield self.event(
            request, candidate=pb.CandidateResult(candidate_index=1, error=error, n_requested=2)
        )
        summary = pb.ComputeRewardsResponse(request_id=group.request_id, profile="release")
        yield self.event(request, done=pb.GroupDone(summary=summary))

    @staticmethod
    def event(request, **event):
        return pb.StreamRewardsResponse(request_id=request.name, **event)


@pytest.fixture
def failing_target():
    service = FailingService()
    server = grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_RewardServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    service.over.set()
    server.stop(None).wait()


def test_a_candidate_without_a_value_is_a_dash_and_exit_code_1(failing_target):
    ran = foresight("score", REMOTE, "--target", failing_target)
    assert ran.returncode == 1
    rows = ran.stdout.splitlines()
    assert any(
        re.match(r"\s*—\s+I'll place the order now\.\s+—\s+—.*0/2\s+failed", r) for r in rows
    )
    assert r"candidate 1 has no value: 0 of 2 futures \x1b[31m" in rows
    assert "\x1b" not in ran.stdout
    ran = foresight("score", REMOTE, "--target", failing_target, "--json")
    assert ran.returncode == 1
    second = json.loads(ran.stdout)["candidates"][1]
    assert second["value"] is None
    assert second["error"]["reason"] == "TOO_FEW_FUTURES"


def test_a_deadline_is_exit_code_4(failing_target):
    ran = foresight("score", GROCERIES, "--target", failing_target, "--timeout", 0.3)
    assert ran.returncode == 4
    assert len(ran.stderr.splitlines()) == 1
    assert "the deadline came before an answer" in ran.stderr


@pytest.fixture
def temporary():
    """A directory for temporary files, at a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_without_a_trace(signum, temporary, tmp_path):
    path = tmp_path / "huge.json"
    path.write_text(HUGE)
    env = {"TMPDIR": str(temporary)}
    with started("score", path, env=env, terminal=True) as running:
        running.err.wait_for(r"futures .*\b[1-9]\d*/16384")
        (directory,) = temporary.iterdir()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert [entry.name for entry in directory.iterdir()] == ["foresight.sock"]
        running.send(signum)
        assert running.wait() == 128 + signum
        assert running.out.rest() == []
        said = "".join(running.err.rest())
    assert "Traceback" not in said
    assert re.search(r"cancelled\s*$", said)
    assert os.listdir(temporary) == []
