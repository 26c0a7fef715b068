"""What happened to a run, why, and what holds up the next one, from ledger items of any age."""

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline_cli.environment import EnvironmentTrouble
from dual_pipeline_cli.explain import explain, last_runs
from operator_aws import EXECUTION, GROUP, START, OperatorAws, entered, operator

TRIGGER = json.dumps({"reason": "data", "detail": "a raw file arrived", "source": {"key": "census/raw/a.csv"}})
FAILED: dict[str, Any] = {
    "outcome": "failed",
    "reason": "step Train: CapacityError: none",
    "state": "AwaitTraining",
    "trigger": TRIGGER,
    "finished_at": "2026-11-20T11:00:00Z",
}


def sections(aws: OperatorAws, run: str = "latest") -> Any:
    return explain(operator(aws), run).sections


def test_a_failure_recorded_without_its_kind_is_understood() -> None:
    """The table of failures is read in Python where the ledger has no words of it."""
    aws = OperatorAws()
    aws.items["RUN#run-1"] = FAILED
    told = sections(aws, "run-1")
    assert ("failed", "the run broke off", "data", "census/raw/a.csv") == tuple(
        told["run"][name] for name in ("outcome", "what happened", "trigger", "file")
    )
    assert {
        "kind": "capacity",
        "state": "AwaitTraining",
        "means": "AWS has no instance of this type free now",
        "for": "nobody but AWS",
        "do": "start a run later, or choose another instance type",
        "runbook": "docs/runbook.md#quota-or-capacity",
    } == told["failure"]


@pytest.mark.parametrize(
    ("outputs", "record", "happened"),
    [
        ({}, {"outcome": "released", "model_package_arn": GROUP}, "a new model serves and is the champion"),
        ({}, {"outcome": "released"}, "a new model is saved, and none is deployed"),
        (
            {"ScoresUri": "s3://scores/"},
            {"outcome": "released", "model_package_arn": GROUP},
            "a new model is the champion and scores in batch",
        ),
        (
            {"ScoresUri": "s3://scores/"},
            {"outcome": "expired"},
            "nobody decided on the model in time, and the champion stays",
        ),
        ({}, {"outcome": "of another day"}, None),
    ],
)
def test_what_happened_is_told_for_where_models_go(
    outputs: dict[str, str], record: dict[str, str], happened: str | None
) -> None:
    """To an endpoint, to batch, or nowhere."""
    aws = OperatorAws()
    aws.items["RUN#run-1"] = record
    client = operator(aws)
    told = explain(replace(client, outputs={**client.outputs, **outputs}), "run-1").sections["run"]
    assert happened == told.get("what happened")


def test_the_ledger_s_own_words_come_first() -> None:
    """What the run recorded of its failure is told as it is."""
    aws = OperatorAws()
    aws.items["RUN#run-1"] = FAILED | {"failure": "quota", "cause": "c", "remedy": "r", "runbook": "b"}
    told = sections(aws, f"{EXECUTION}:run-1")["failure"]
    assert ("quota", "c", "r", "b") == (told["kind"], told["means"], told["do"], told["runbook"])


def test_an_outcome_that_is_no_failure_says_what_to_do() -> None:
    """A suppressed trigger is explained, also where the item has nothing but outcome and reason."""
    aws = OperatorAws()
    aws.items["RUN#run-1"] = {"outcome": "suppressed", "reason": "another run is training"}
    told = sections(aws, "run-1")
    assert "another run is training" == told["run"]["why"]
    assert told["run"]["do"].startswith("nothing, what waits follows by itself; dual-pipeline start --force")
    assert {} == told["failure"]


def test_the_decision_is_told() -> None:
    """Who approved, when and why."""
    aws = OperatorAws()
    aws.items["RUN#run-1"] = {"outcome": "released", "reason": "r", "model_package_arn": f"{GROUP}/3"}
    aws.items[f"DECISION#{GROUP}/3#run-1"] = {
        "decision": "Approved",
        "person": "ada",
        "decided_at": "then",
        "why": "good",
        "metrics": json.dumps({"auc": {"value": 0.91234}, "odd": None, "f1": {"value": None}}),
        "comparison": json.dumps({"sentence": "It is better."}),
    }
    assert {
        "decision": "Approved",
        "by": "ada",
        "at": "then",
        "because": "good",
        "metrics": "auc 0.9123",
        "against": "It is better.",
    } == sections(aws, "run-1")["decision"]


def test_locks_and_what_waits() -> None:
    """Who holds the lock until when, what is pending since when, the cool-down, and the day's runs."""
    aws = OperatorAws()
    aws.items["LOCK#training"] = {
        "owner": f"{EXECUTION}:run-2",
        "lease_until": 1_795_000_000,
        "pending": TRIGGER,
        "pending_since": 1_794_990_000,
        "cool_until": 99_999_999_999,
        "trained_run": "run-1",
    }
    aws.items["LOCK#release#dev-census"] = {"owner": f"{EXECUTION}:run-1", "lease_until": 1_795_000_000}
    told = sections(aws)
    assert {
        "held by": "run-2",
        "until at the latest": "2026-11-18T11:06:40+00:00",
        "pending": "a trigger for reason data",
        "pending since": "2026-11-18T08:20:00+00:00",
        "cool-down until": "5138-11-16T09:46:39+00:00",
        "trained last by": "run-1",
    } == told["training lock"]
    assert "run-1" == told["release lock"]["held by"]
    assert {"runs admitted": 0} == told["today"]


def test_an_empty_ledger() -> None:
    """An environment in which nothing has run yet says so."""
    told = sections(OperatorAws())
    assert {"outcome": "there was no run yet"} == told["run"]
    assert {"held by": "nobody", "pending": "nothing"} == told["training lock"]


def test_a_run_that_is_on_names_its_state() -> None:
    """The newest run is found by Step Functions, and its present state by its history."""
    aws = OperatorAws()
    aws.executions["run-5"] = {"status": "RUNNING", "input": json.dumps({"reason": "person", "detail": "why not"})}
    aws.histories["run-5"] = [entered("IngestData")]
    assert {
        "run": "run-5",
        "outcome": "running",
        "state": "IngestData",
        "since": START,
        "trigger": "person",
        "in words": "why not",
    } == sections(aws)["run"]


def test_who_may_not_ask_step_functions_sees_what_is_recorded() -> None:
    """A data scientist reads the ledger only: the latest run is the one recorded last."""

    class Ledger(OperatorAws):
        def list_executions(self, **_: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "ListExecutions")

    aws = Ledger()
    aws.items["RUN#run-1"] = FAILED
    assert "run-1" == sections(aws)["run"]["run"]


def test_an_unknown_run() -> None:
    """A run that nobody knows is one sentence, with the command that lists those that exist."""
    with pytest.raises(
        EnvironmentTrouble, match="census in dev has no run 'run-7': list the last ones with dual-pipeline"
    ):
        sections(OperatorAws(), "run-7")


@pytest.mark.parametrize("run", ["", " ", f"{EXECUTION}:"])
def test_an_empty_id_names_no_run(run: str) -> None:
    """It is a variable that was not set, and says nothing of whether there were runs."""
    aws = OperatorAws()
    aws.items["RUN#run-1"] = FAILED
    with pytest.raises(EnvironmentTrouble, match="the run's id is empty: give one, or none for the latest"):
        sections(aws, run)


def test_last_runs() -> None:
    """The newest come first, each with its kind of failure."""
    aws = OperatorAws()
    aws.items["RUN#run-1"] = FAILED
    aws.items["RUN#run-2"] = {"outcome": "released", "reason": "r", "finished_at": "2026-11-21T11:00:00Z"}
    aws.items["RUN#run-0"] = {}
    runs = list(last_runs(operator(aws), 2))
    assert [("run-2", "released", ""), ("run-1", "failed", "capacity")] == [
        (run["run"], run["outcome"], run["failure"]) for run in runs
    ]
