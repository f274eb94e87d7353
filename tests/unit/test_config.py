"""The configuration: its defaults, its secrets, and the table of everything that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from foresight_services.bootstrap import check
from foresight_services.config import BuiltinModelConfig, Config, load_config, parse_config
from foresight_services.core.errors import InvalidInput

FULL = """
models:
  policy: {backend: builtin, skill: asker}
  user: &rules {backend: builtin}
  judge: *rules
  another: {<<: *rules, skill: focused}
roles: {user: user, judge: judge}
worlds:
  twenty_questions: {error_rate: 0.1, knowledge_path: ""}
simulator: {termination_signal: "<END>", max_futures: 5}
services:
  reward: {listen: "0.0.0.0:0", metrics: null, workers: 3}
  simulator: {listen: "unix:/tmp/simulator.sock", metrics: "[::1]:9465", target: "dns:///sim:1"}
  evaluator: {listen: "[::]:65535", metrics: "localhost:0"}
  tls:
    certificate_path: cert.pem
    key_path: key.pem
    ca_path: ca.pem
    require_client_certificate: true
  drain_notice_seconds: 0
  drain_grace_seconds: 86400
  max_connection_age_seconds: 300
  deadline_margin_seconds: 0.25
"""


def test_every_field_can_be_set() -> None:
    config = parse_config(FULL)
    assert config.models["policy"] == BuiltinModelConfig(backend="builtin", skill="asker")
    assert config.models["another"] == BuiltinModelConfig(backend="builtin", skill="focused")
    assert config.worlds.twenty_questions.error_rate == 0.1
    assert config.simulator.termination_signal == "<END>"
    assert config.simulator.max_futures == 5
    assert config.services.reward.metrics is None
    assert config.services.simulator.target == "dns:///sim:1"
    assert config.services.tls is not None
    assert config.services.tls.require_client_certificate
    assert config.services.drain_notice_seconds == 0.0
    assert config.services.max_connection_age_seconds == 300.0
    assert (config.services.reward.workers, config.services.simulator.workers) == (3, 1)
    assert config.services.deadline_margin_seconds == 0.25


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "---\n"])
def test_an_empty_file_is_the_default_configuration(text: str) -> None:
    assert parse_config(text) == Config() == load_config(None, {})


def test_by_default_services_listen_on_loopback_and_rules_play_every_role() -> None:
    config = Config()
    for service in (config.services.reward, config.services.simulator, config.services.evaluator):
        assert service.listen.startswith("127.0.0.1:")
        assert service.metrics is not None
        assert service.metrics.startswith("127.0.0.1:")
    assert {model.backend for model in config.models.values()} == {"builtin"}
    assert {config.roles.user, config.roles.judge, "policy"} <= set(config.models)
    check(config)


def test_the_configuration_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().simulator.max_futures = 1


ONE_MODEL = "{policy: {backend: builtin}}"

REFUSED = {
    # Unknown keys, at every depth
    "section": (
        "service: {}",
        {"service": "unknown key; did you mean 'services'? (known: cache, evaluator, models,"},
    ),
    "section like none": (
        "xyz: {}",
        {"xyz": "unknown key (known: cache, evaluator, models, prices, prompts, recording,"},
    ),
    "key of a service": (
        'services: {reward: {listen: "127.0.0.1:1", metrics: null, listens: 1}}',
        {"services.reward.listens": "did you mean 'listen'? (known: listen, metrics, target,"},
    ),
    "key of the services": (
        "services: {drain_notice: 1.0}",
        {"services.drain_notice": "did you mean 'drain_notice_seconds'?"},
    ),
    "key of a model": (
        "models: {policy: {backend: builtin, skil: asker}}",
        {"models.policy.skil": "unknown key; did you mean 'skill'? (known: backend, skill)"},
    ),
    "key of a world": (
        "worlds: {twenty_questions: {eror_rate: 0.1}}",
        {"worlds.twenty_questions.eror_rate": "did you mean 'error_rate'?"},
    ),
    "world": ("worlds: {groceries: {}}", {"worlds.groceries": "(known: twenty_questions)"}),
    "key of tls": (
        "services: {tls: {certificate_path: a, key_path: b, ca_path: c, ca_paths: d}}",
        {"services.tls.ca_paths": "did you mean 'ca_path'?"},
    ),
    "key that is a number": ("1: {}", {"1": "keys should be strings"}),
    # Wrong types and values
    "text for a number": (
        'simulator: {max_futures: "8"}',
        {"simulator.max_futures": "input should be a valid integer"},
    ),
    "fraction for a whole number": (
        "simulator: {max_futures: 1.5}",
        {"simulator.max_futures": "input should be a valid integer"},
    ),
    "yes for a number": (
        "simulator: {max_futures: yes}",
        {"simulator.max_futures": "input should be a valid integer"},
    ),
    "no place for futures": (
        "simulator: {max_futures: 0}",
        {"simulator.max_futures": "greater than or equal to 1"},
    ),
    "no signal": (
        'simulator: {termination_signal: ""}',
        {"simulator.termination_signal": "at least 1 character"},
    ),
    "number for a text": (
        "simulator: {termination_signal: 1}",
        {"simulator.termination_signal": "input should be a valid string"},
    ),
    "text for a section": (
        "simulator: fast",
        {"simulator": "must be a mapping (known keys: lora_load_timeout_seconds,"},
    ),
    "list for a file": (
        "[1, 2]",
        {"(file)": "must be a mapping (known keys: cache, evaluator, models, prices,"},
    ),
    "model that is a text": (
        "models: {policy: builtin}",
        {"models.policy": "must be a mapping that names its `backend`"},
    ),
    "unknown backend": (
        "models: {policy: {backend: gpt}}",
        {"models.policy.backend": "unknown 'gpt' (known: builtin, litellm,"},
    ),
    "model without a backend": (
        "models: {policy: {skill: asker}}",
        {"models.policy.backend": "is missing (known: builtin,"},
    ),
    "no models": ("models: {}", {"models": "at least 1 item"}),
    "service without a metrics address": (
        'services: {reward: {listen: "127.0.0.1:1"}}',
        {"services.reward.metrics": "field required"},
    ),
    "error rate of a half": (
        "worlds: {twenty_questions: {error_rate: 0.5}}",
        {"worlds.twenty_questions.error_rate": "less than 0.5"},
    ),
    "negative error rate": (
        "worlds: {twenty_questions: {error_rate: -0.01}}",
        {"worlds.twenty_questions.error_rate": "greater than or equal to 0"},
    ),
    "error rate that is not a number": (
        "worlds: {twenty_questions: {error_rate: .nan}}",
        {"worlds.twenty_questions.error_rate": "0"},
    ),
    "endless time": (
        "services: {drain_grace_seconds: .inf}",
        {"services.drain_grace_seconds": "finite number"},
    ),
    "time of more than a day": (
        "services: {drain_grace_seconds: 86401}",
        {"services.drain_grace_seconds": "less than or equal to 86400"},
    ),
    "negative time": (
        "services: {deadline_margin_seconds: -1}",
        {"services.deadline_margin_seconds": "greater than or equal to 0"},
    ),
    "no workers": (
        'services: {reward: {listen: "localhost:1", metrics: null, workers: 0}}',
        {"services.reward.workers": "greater than or equal to 1"},
    ),
    "connections of no age": (
        "services: {max_connection_age_seconds: 0}",
        {"services.max_connection_age_seconds": "greater than or equal to 1"},
    ),
    "list of names": (
        'services: {simulator: {listen: "localhost:1", metrics: null, target: "a:1,b:2"}}',
        {"services.simulator.target": "'a:1' in it is no IP address with a port; replicas with"},
    ),
    "list of both kinds of addresses": (
        'services: {simulator: {listen: "l:1", metrics: null, target: "[::1]:1,127.0.0.1:2"}}',
        {"services.simulator.target": "mixes IPv4 and IPv6 addresses"},
    ),
    # Addresses
    **{
        f"address {address!r}": (
            f'services: {{reward: {{listen: "{address}", metrics: null}}}}',
            {"services.reward.listen": "must be `host:port`, the port 0 to 65535"},
        )
        for address in (
            "",
            "localhost",
            ":50051",
            "localhost:",
            "localhost:65536",
            "localhost:99999",
            "localhost:http",
            "localhost:-1",
            "a host:1",
            "unix:",
            "http://localhost/",
        )
    },
    "address of metrics that is a path": (
        'services: {reward: {listen: "localhost:1", metrics: "unix:/tmp/x"}}',
        {"services.reward.metrics": "must be `host:port`"},
    ),
    "address of metrics out of range": (
        'services: {reward: {listen: "localhost:1", metrics: "localhost:70000"}}',
        {"services.reward.metrics": "the port 0 to 65535"},
    ),
    # Names that lead nowhere
    "no model for the roles": (
        f"models: {ONE_MODEL}",
        {"roles.user": "unknown 'user' (known: policy)", "roles.judge": "unknown 'judge'"},
    ),
    "misspelt role": (
        "roles: {judge: jugde}",
        {"roles.judge": "unknown 'jugde'; did you mean 'judge'?"},
    ),
    "role that is none": ("roles: {policy: policy}", {"roles.policy": "(known: judge, user)"}),
    # Not YAML
    "open bracket": ("models: {", {"(file)": "is not YAML: "}),
    "tab": ("models:\n\tpolicy: {}", {"(file)": "is not YAML: "}),
    "object": ("a: !!python/object/apply:os.system [ls]", {"(file)": "is not YAML: "}),
    "several documents": ("a: 1\n---\nb: 2", {"(file)": "is not YAML: "}),
    "key twice": (
        "simulator: {max_futures: 1}\nroles: {}\nsimulator: {max_futures: 2}",
        {"(file)": "found the key 'simulator' twice"},
    ),
    "key twice, deep inside": (
        "models: {user: {backend: builtin}, user: {backend: builtin}}",
        {"(file)": "found the key 'user' twice"},
    ),
    "key that is a list": ("? [a]\n: 1", {"(file)": "is not YAML: "}),
    # Secrets
    "token": (
        "token: s3cret",
        {"token": "is a secret; set the environment variable FORESIGHT_TOKEN instead"},
    ),
    "several": (
        "simulator: {max_futures: 0, max_future: 1}\nservices: {tls: {}}",
        {
            "simulator.max_futures": "greater than or equal to 1",
            "simulator.max_future": "did you mean 'max_futures'?",
            "services.tls.certificate_path": "field required",
            "services.tls.key_path": "field required",
            "services.tls.ca_path": "field required",
        },
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_by_field(name: str) -> None:
    text, problems = REFUSED[name]
    with pytest.raises(InvalidInput) as refused:
        parse_config(text)
    found = {v.field: v.description for v in refused.value.violations}
    assert set(found) == set(problems)
    for field, part in problems.items():
        assert part in found[field]
        assert "\n" not in found[field]
    assert "s3cret" not in str(refused.value)


def test_the_token_comes_from_the_environment_and_is_not_shown() -> None:
    config = load_config(None, {"FORESIGHT_TOKEN": "s3cret", "PATH": "/bin"})
    assert config.token is not None
    assert config.token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(config)
    assert "s3cret" not in config.model_dump_json()
    assert load_config(None, {}).token is None
    assert load_config(None, {"FORESIGHT_TOKEN": ""}).token is None


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("FORESIGHT_TOKN", "did you mean 'FORESIGHT_TOKEN'?"),
        ("FORESIGHT_", "(known: FORESIGHT_CONFIG, FORESIGHT_TOKEN)"),
        ("FORESIGHT_API_KEY", "(known: FORESIGHT_CONFIG, FORESIGHT_TOKEN)"),
    ],
)
def test_an_unknown_variable_is_refused_because_it_was_meant_to_do_something(
    name: str, part: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_config(None, {name: "s3cret"})
    ((field, description),) = [(v.field, v.description) for v in refused.value.violations]
    assert field == name
    assert part in description
    assert "s3cret" not in str(refused.value)


def test_every_unknown_variable_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        load_config(None, {"FORESIGHT_B": "", "FORESIGHT_A": "", "OTHER": ""})
    assert [v.field for v in refused.value.violations] == ["FORESIGHT_A", "FORESIGHT_B"]


def test_the_file_is_the_given_one_else_the_environments(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("simulator: {max_futures: 1}")
    two.write_text("simulator: {max_futures: 2}")
    environment = {"FORESIGHT_CONFIG": str(two)}
    assert load_config(one, environment).simulator.max_futures == 1
    assert load_config(None, environment).simulator.max_futures == 2
    assert load_config(None, {"FORESIGHT_CONFIG": ""}) == Config()


def test_by_default_the_environment_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESIGHT_NONSENSE", "")
    with pytest.raises(InvalidInput, match="FORESIGHT_NONSENSE"):
        load_config(None)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(InvalidInput) as refused:
            load_config(path, {})
        (violation,) = refused.value.violations
        assert violation.field == str(path)
        assert violation.description.startswith("cannot be read: ")


@pytest.mark.parametrize("content", [None, "nonsense", "things: {}"])
def test_a_knowledge_base_that_cannot_be_used_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "things.yaml"
    if content is not None:
        path.write_text(content)
    config = parse_config(f"worlds: {{twenty_questions: {{knowledge_path: '{path}'}}}}")
    with pytest.raises(InvalidInput) as refused:
        check(config)
    (violation,) = refused.value.violations
    assert violation.field == "worlds.twenty_questions.knowledge_path"
    assert violation.description.startswith("cannot be used: ")


def test_tls_files_that_cannot_be_read_are_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("any")
    config = parse_config(
        f"services: {{tls: {{certificate_path: {tmp_path}/cert.pem,"
        f" key_path: {tmp_path}/key.pem, ca_path: {tmp_path}/ca.pem}}}}"
    )
    with pytest.raises(InvalidInput) as refused:
        check(config)
    assert [v.field for v in refused.value.violations] == [
        "services.tls.certificate_path",
        "services.tls.ca_path",
    ]
