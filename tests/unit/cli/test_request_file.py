"""What the command line says replaces what the file says, and nothing else."""

import pytest

from foresight.errors import InvalidRequestError
from foresight_services.cli import request_file
from foresight_services.cli.request_file import Overrides, read_request
from foresight_services.core.errors import InvalidInput

REQUEST = """
task: {preset: groceries}
prefix: [{role: user, content: Hello}]
candidates: [a, b]
simulation: {horizon_messages: 4, samples: {min: 2, max: 8}, policy: {name: p, version: 3}}
"""


@pytest.fixture
def read(tmp_path):
    def parse(text=REQUEST, **overrides):
        path = tmp_path / "request.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_request(str(path), Overrides(**overrides)).simulation

    return parse


def test_without_overrides_the_file_holds(read):
    simulation = read()
    assert simulation.horizon_messages == 4
    assert (simulation.samples.min, simulation.samples.max) == (2, 8)
    assert (simulation.policy.name, simulation.policy.version) == ("p", 3)
    assert not simulation.HasField("seed")


def test_overrides(read):
    simulation = read(horizon=0, samples=16, seed=2**64 - 1, policy="q")
    assert simulation.HasField("horizon_messages")
    assert simulation.horizon_messages == 0
    assert (simulation.samples.min, simulation.samples.max) == (2, 16)
    assert simulation.seed == 2**64 - 1
    assert (simulation.policy.name, simulation.policy.version) == ("q", 0)


def test_a_baseline_is_added_replaced_or_left_out(read):
    assert not read().HasField("baseline")
    assert read(baseline=4).baseline.responses == 4
    with_one = REQUEST.replace("samples:", "baseline: {responses: 3}, samples:")
    assert read(with_one).baseline.responses == 3
    assert read(with_one, baseline=5).baseline.responses == 5
    assert not read(with_one, baseline=0).HasField("baseline")


def test_fewer_samples_than_the_least_number_drop_it(read):
    samples = read(samples=1).samples
    assert samples.max == 1
    assert not samples.HasField("min")


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [("q@12", "q", 12), ("me@home", "me@home", 0), ("a@b@7", "a@b", 7), ("q@", "q@", 0)],
)
def test_policy_versions(read, text, name, version):
    policy = read(policy=text).policy
    assert (policy.name, policy.version) == (name, version)


def test_overrides_make_a_simulation_where_there_is_none(read):
    text = REQUEST.partition("simulation")[0]
    assert read(text, samples=3).samples.max == 3


def test_overrides_leave_wrong_parts_to_the_builder(read):
    for broken in ("simulation: 7", "simulation: {samples: 7}", "simulation: [1]"):
        with pytest.raises(InvalidRequestError, match="simulation"):
            read(REQUEST.partition("simulation")[0] + broken, samples=3)


def test_a_byte_order_mark_is_no_text(read):
    assert read(b"\xef\xbb\xbf" + REQUEST.encode()).horizon_messages == 4


def test_files_that_no_request_fills_are_refused(read, monkeypatch):
    monkeypatch.setattr(request_file, "MAX_BYTES", 100)
    with pytest.raises(InvalidInput, match="has more than 100 bytes"):
        read()
