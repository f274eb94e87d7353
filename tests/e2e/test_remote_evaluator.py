"""The example evaluator as a process of its own: scoring, refusing, and killed in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest

from foresight import AsyncClient, CandidateEvent, CandidateReward, FutureEvent
from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc
from foresight.v1 import metric_pb2
from foresight_services.core.errors import InvalidInput
from foresight_services.core.routing import Remote, RoutedEvaluator
from foresight_services.evaluator.remote import RemoteEvaluator
from foresight_services.rpc.channel import Peer
from tests.e2e.cli_process import CLEAN, PATIENCE, ROOT, Lines, foresight, started
from tests.fakes.evaluation import StubMetric, evaluation_setup, item, make_evaluation
from tests.fakes.servers import refused
from tests.fakes.virtual_time import LoopClock

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples" / "remote_evaluator"
PROGRAM = EXAMPLE / "evaluator.py"
REQUEST = (EXAMPLE / "request.yaml").read_text() + "include_futures: true\n"


@dataclass(frozen=True)
class Manners:
    """The example, running."""

    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def manners(listen: str = "127.0.0.1:0") -> Iterator[Manners]:
    """Run the example until it listens."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "--listen", listen],
        env=CLEAN,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = Lines(process.stdout)
    try:
        yield Manners(process, lines.wait_for(r"^serving politeness on (\S+)$")[1])
    finally:
        process.kill()
        process.wait(PATIENCE)
        lines.rest()
        process.stdout.close()


@pytest.fixture
def other() -> Iterator[Manners]:
    with manners() as running:
        yield running


def configured(folder: Path, address: str) -> Path:
    """Write a configuration that has `politeness` scored at `address`."""
    path = folder / "foresight.yaml"
    path.write_text((EXAMPLE / "foresight.yaml").read_text().replace("127.0.0.1:50060", address))
    assert address in path.read_text()
    return path


def test_the_example_needs_the_stubs_alone() -> None:
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(PROGRAM)],
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    imported = set(ran.stdout.split())
    assert {"foresight", "grpc"} <= imported
    assert not imported & {"foresight_services", "pydantic", "yaml"}


def test_a_request_is_scored_by_both(other: Manners, tmp_path: Path) -> None:
    config = configured(tmp_path, other.address)
    ran = foresight("score", "-", "--json", "--config", config, stdin=REQUEST)
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert [info["name"] for info in document["metrics"]] == ["success", "politeness"]
    polite, curt = document["candidates"]
    for candidate in (polite, curt):
        assert candidate["metrics"]["success"]["n_ok"] == 4
        assert candidate["metrics"]["politeness"]["n_ok"] == 4
    assert polite["metrics"]["politeness"]["mean"] > curt["metrics"]["politeness"]["mean"]


def test_what_it_refuses_is_told_by_its_place_in_the_request(
    other: Manners, tmp_path: Path
) -> None:
    config = configured(tmp_path, other.address)
    request = REQUEST.replace("{name: politeness,", "{name: politeness, parameters: {x: 1},")
    ran = foresight("score", "-", "--config", config, stdin=request)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "objective.metrics[1].parameters.x: takes no parameters\n"


def check(candidate: CandidateReward) -> tuple[int, int]:
    """Return how many futures have a score of `politeness` and how many have its failure.

    Every future has its other score, and every failure says whose it is.
    """
    done = failed = 0
    for future in candidate.futures:
        success, politeness = future.scores
        assert success.value is not None
        if politeness.error is None:
            assert politeness.value is not None
            done += 1
            continue
        failed += 1
        assert politeness.value is None
        assert politeness.error.reason == "SERVICE_UNAVAILABLE"
        assert "evaluator 'manners': the evaluator" in politeness.error.message
        assert politeness.error.metadata["evaluator"] == "manners"
        assert politeness.error.metadata["metric"] == "politeness"
    return done, failed


async def test_killed_in_the_middle_it_costs_its_own_scores_only(
    other: Manners, tmp_path: Path
) -> None:
    config = configured(tmp_path, other.address)
    request = {
        "task": {"preset": "groceries"},
        "prefix": [{"role": "user", "content": "Can you help me buy groceries?"}],
        "candidates": ["I'm glad to help!", "Address?"],
        "objective": {"metrics": [{"name": "success"}, {"name": "politeness", "weight": 0.1}]},
        "simulation": {"horizon_messages": 8, "samples": {"max": 512}},
        "include_futures": True,
    }
    options = ("--config", config, "--listen", "127.0.0.1:0", "--metrics", "none")
    with started("serve", "all", *options) as service:
        address = service.out.wait_for(r"^serving all on (\S+),")[1]
        service.out.wait_for("^all is ready$")
        async with AsyncClient(address, timeout=PATIENCE) as client:
            candidates = []
            async with aclosing(client.stream_rewards([request], progress=True)) as events:
                async for event in events:
                    if isinstance(event, FutureEvent) and other.process.poll() is None:
                        assert event.ok
                        other.kill()
                    if isinstance(event, CandidateEvent):
                        candidates.append(event.candidate)
            assert len(candidates) == 2
            counts = [check(candidate) for candidate in candidates]
            assert sum(done for done, _ in counts) >= 1
            assert sum(failed for _, failed in counts) >= 1
            assert all(sum(count) == 512 for count in counts)
            # With it gone from the start, all of its scores fail and nothing waits for it.
            request["simulation"] = {"horizon_messages": 8, "samples": {"max": 4}}
            for candidate in await client.send(request):
                assert candidate.value is None
                assert check(candidate) == (0, 4)
            # The service needs no restart when it is back.
            with manners(other.address):
                rewards = await client.send(request)
                while None in rewards.values:
                    rewards = await client.send(request)
                assert [check(candidate) for candidate in rewards] == [(4, 0), (4, 0)]


async def test_the_example_keeps_to_the_contract(other: Manners) -> None:
    async with grpc.aio.insecure_channel(other.address) as channel:
        remote = RemoteEvaluator(Peer("evaluator", channel), LoopClock())
        local = make_evaluation(StubMetric("a", 0.5))
        evaluator = RoutedEvaluator(
            local,
            {"manners": Remote(remote, ("politeness",))},
            local_names=("a",),
            clock=LoopClock(),
        )
        setup = evaluation_setup("a", "politeness", candidates=("You're welcome.", "No."))
        async with evaluator.open(setup) as session:
            assert session.metrics[1].range == session.metrics[0].range
            for candidate, expected in enumerate((1.0, 0.0)):
                scores = (await session.score(item(candidate))).scores
                assert [score.outcome for score in scores] == [0.5, expected]
        with pytest.raises(InvalidInput, match=r"metrics\[0\]\.name: unknown"):
            async with remote.open(evaluation_setup("rudeness")):
                pytest.fail("opened")


SETUP = pb.EvaluateRequest(
    setup=pb.EvaluationSetup(candidates=["Hi."], metrics=[metric_pb2.MetricSpec(name="politeness")])
)


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "setup"),
        ([pb.EvaluateRequest(conversation=pb.ConversationItem())], "setup"),
        ([pb.EvaluateRequest(setup=pb.EvaluationSetup(candidates=["Hi."]))], "metrics"),
        ([SETUP, SETUP], "conversation"),
        (
            [SETUP, pb.EvaluateRequest(conversation=pb.ConversationItem(candidate_index=1))],
            "conversation.candidate_index",
        ),
    ],
    ids=["nothing", "no setup", "no metric", "two setups", "no candidate"],
)
async def test_the_example_is_strict_about_the_order(
    other: Manners, requests: list[pb.EvaluateRequest], field: str
) -> None:
    async with grpc.aio.insecure_channel(other.address) as channel:
        call = pb_grpc.EvaluatorServiceStub(channel).Evaluate(iter(requests))
        refusal = await refused(call)
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert list(refusal.fields) == [field]
