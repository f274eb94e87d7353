"""What models and training jobs cost, as Prometheus sees it."""

from __future__ import annotations

from prometheus_client import generate_latest

from foresight_services.core.usage import ModelUsage
from foresight_services.telemetry.prometheus import MOST_JOBS, PrometheusTelemetry
from tests.fakes.prometheus import Scrape

COST = ModelUsage(3, 100, 20, 40, retries=1, hedges=1, dollars=0.25)


def told_by(telemetry: PrometheusTelemetry) -> Scrape:
    return Scrape(generate_latest(telemetry.registry).decode())


def test_tokens_dollars_retries_and_hedges_are_added_up_by_role() -> None:
    telemetry = PrometheusTelemetry()
    telemetry.model_spent("user", COST)
    telemetry.model_spent("user", COST)
    telemetry.model_spent("judge", ModelUsage(1, 5))
    told = told_by(telemetry)
    for kind, count in (("prompt", 200), ("completion", 40), ("cached", 80)):
        assert told.value("foresight_model_tokens_total", role="user", kind=kind) == count
    assert told.value("foresight_model_tokens_total", role="judge", kind="prompt") == 5
    assert told.value("foresight_model_dollars_total", role="user") == 0.5
    assert told.value("foresight_model_retries_total", role="user") == 2
    assert told.value("foresight_model_hedges_total", role="user") == 2


def test_jobs_have_accounts_of_their_own() -> None:
    telemetry = PrometheusTelemetry()
    telemetry.job_spent("math", "user", COST)
    telemetry.job_spent("code", "user", ModelUsage(1, 1, 1))
    told = told_by(telemetry)
    assert told.value("foresight_job_tokens_total", training_job="math", role="user") == 120
    assert told.value("foresight_job_tokens_total", training_job="code", role="user") == 2
    assert told.value("foresight_job_dollars_total", training_job="math", role="user") == 0.25


def test_jobs_beyond_the_first_ones_share_a_label() -> None:
    telemetry = PrometheusTelemetry()
    for number in range(1000):
        telemetry.job_spent(f"job {number}", "user", ModelUsage(1, 1))
    telemetry.job_spent("job 0", "user", ModelUsage(1, 1))
    told = told_by(telemetry)
    name = "foresight_job_tokens_total"
    assert len(told.labels(name)) == MOST_JOBS + 1
    assert told.value(name, training_job="job 0", role="user") == 2
    assert told.value(name, training_job="other", role="user") == 1000 - MOST_JOBS
