"""The public surface: what `import foresight` offers, and what it costs."""

import dataclasses
import inspect
import subprocess
import sys

import foresight
import foresight.errors

EXPORTS = [
    "Artifact",
    "AsyncClient",
    "BudgetExhaustedError",
    "CacheUse",
    "CandidateEvent",
    "CandidateReward",
    "Client",
    "ContextExhaustedError",
    "ContradictoryPrefixError",
    "DeadlineExceededError",
    "Decision",
    "Difference",
    "ExtractionFailedError",
    "ForesightError",
    "Future",
    "FutureEvent",
    "GroupEvent",
    "InternalError",
    "Interval",
    "InvalidRequestError",
    "Lead",
    "Lift",
    "LimitReachedError",
    "Message",
    "MetricFailedError",
    "MetricInfo",
    "MetricScore",
    "MetricSummary",
    "MetricUnavailableError",
    "ModelFailedError",
    "ModelRejectedError",
    "ModelUsage",
    "NotImplementedByServerError",
    "OriginCounts",
    "PolicyVersion",
    "PublishedPolicy",
    "Request",
    "RewardEvent",
    "Rewards",
    "SandboxUnavailableError",
    "ServiceUnavailableError",
    "StalePolicyError",
    "StoredReward",
    "Tls",
    "TooFewFuturesError",
    "UnauthenticatedError",
    "UnknownPolicyError",
    "UnknownRewardError",
    "Usage",
    "UserDriftedError",
    "ValueRange",
    "Verdict",
    "Violation",
    "build_request",
]


def test_the_export_list_is_pinned():
    assert foresight.__all__ == EXPORTS
    assert all(hasattr(foresight, name) for name in EXPORTS)


def test_every_error_is_exported_and_in_the_drawn_tree():
    errors = {
        name
        for name, value in vars(foresight.errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and name.endswith("Error")
    } - {"DecodeError"}
    assert errors <= set(foresight.__all__)
    assert errors <= set((foresight.errors.__doc__ or "").split())


def test_results_are_frozen_and_slotted():
    classes = [value for value in vars(foresight).values() if dataclasses.is_dataclass(value)]
    assert len(classes) > 15
    for cls in classes:
        assert cls.__dataclass_params__.frozen, cls  # type: ignore[union-attr]
        assert "__slots__" in vars(cls), cls


def test_both_clients_have_one_surface():
    def surface(cls):
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_")
        }

    assert surface(foresight.Client) == surface(foresight.AsyncClient)
    assert inspect.signature(foresight.Client) == inspect.signature(foresight.AsyncClient)


def test_the_import_needs_grpc_and_protobuf_alone():
    code = "import sys, foresight; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    baseline = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, grpc, grpc_status, google.protobuf; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    known = {name.partition(".")[0] for name in baseline.stdout.split()} | sys.stdlib_module_names
    assert loaded - known <= {"foresight", "google", "grpc", "grpc_status"}
