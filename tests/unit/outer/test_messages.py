"""What people read: the full text of the message of each outcome, and what SNS takes."""

from dataclasses import replace
from typing import Any

import pytest

from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import OUTCOMES as NAMES
from dual_pipeline.model_project import ModelProject
from dual_pipeline.outer_loop.messages import OUTCOMES, words
from dual_pipeline.reaper import reaper_definition
from pipeline_code.census.project import CENSUS

Definition = dict[str, Any]
# outcome: the reason that the machine gives, and all that is sent
MESSAGES = {
    "released": (
        "the model answers its golden rows on the endpoint; package arn:aws:sagemaker:eu-west-1:111122223333:model-package/dev-census/7, approved by ada: looks good",
        """\
census in dev: a new model serves and is the champion.

Why: the model answers its golden rows on the endpoint; package arn:aws:sagemaker:eu-west-1:111122223333:model-package/dev-census/7, approved by ada: looks good
Do: nothing
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Started for reason data (a raw file arrived).
""",
    ),
    "suppressed": (
        "the cap of 8 runs a day (limits.runs_per_day) is used up; the trigger is kept as pending and the next admitted run reads all of its data",
        """\
census in dev: this trigger started no training.

Why: the cap of 8 runs a day (limits.runs_per_day) is used up; the trigger is kept as pending and the next admitted run reads all of its data
Do: nothing, what waits follows by itself; dual-pipeline start --force trains on the same data once more, within the daily cap (limits.runs_per_day); where drift asked for it, look at the data
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Started for reason data (a raw file arrived).
""",
    ),
    "blocked": (
        "the data failed its quality rules: age negative",
        """\
census in dev: new data was refused, and the champion serves on.

Why: the data failed its quality rules: age negative
Do: deliver a corrected file; without a quarantined object remove the bad one from raw/ first
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Runbook: docs/runbook.md#data-blocked
Started for reason data (a raw file arrived).
""",
    ),
    "below-gate": (
        "the model is below its gate: auc 0.5000 is below the floor 0.88",
        """\
census in dev: the new model is not good enough, and the champion serves on.

Why: the model is below its gate: auc 0.5000 is below the floor 0.88
Do: nothing is broken; the evaluation's report.html shows where the model falls short
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Runbook: docs/runbook.md#model-below-its-gate
Started for reason data (a raw file arrived).
""",
    ),
    "rejected": (
        "the model was rejected by ada: biased against the young",
        """\
census in dev: the model was rejected, and the champion serves on.

Why: the model was rejected by ada: biased against the young
Do: nothing; if the approval was stale, start a run again
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Runbook: docs/runbook.md#model-not-approved
Started for reason data (a raw file arrived).
""",
    ),
    "expired": (
        "expired: nobody approved or rejected the model within 3 days",
        """\
census in dev: nobody decided on the model in time, and the champion serves on.

Why: expired: nobody approved or rejected the model within 3 days
Do: start a run again, and see that its approvers get these messages
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Runbook: docs/runbook.md#model-not-approved
Started for reason data (a raw file arrived).
""",
    ),
    "rolled-back": (
        "SmokeTest: 1 of 2 golden rows are answered wrongly, the first with 0.9 instead of 0.75; the endpoint is back on config-old",
        """\
census in dev: the new model was sent back, and the one before it serves.

Why: SmokeTest: 1 of 2 golden rows are answered wrongly, the first with 0.9 instead of 0.75; the endpoint is back on config-old
Do: read the endpoint's log; compare golden_rows.json with what the endpoint answered
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Runbook: docs/runbook.md#release-rolled-back
Started for reason data (a raw file arrived).
""",
    ),
    "failed": (
        "AwaitTraining: the pipeline execution failed; step Evaluate: ValueError: no rows",
        """\
census in dev: the run broke off.

Why: AwaitTraining: the pipeline execution failed; step Evaluate: ValueError: no rows
That is: the step's own code ended with an error: ValueError: no rows (code, for the project's data scientists)
Do: its project's data scientists repair it (dual-pipeline step runs it alone), then start a run
More: dual-pipeline explain 5f3a_9b1c --env dev --project census
Again: dual-pipeline start --env dev --project census --because "WHY"
Runbook: docs/runbook.md#code-failed
Started for reason data (a raw file arrived).
""",
    ),
}


def told(definition: Definition, evaluate: Any, *, outcome: str, reason: str, trouble: str = "") -> dict[str, str]:
    """The arguments of the call that tells people."""
    variables: dict[str, Any] = {
        "outcome": outcome,
        "reason": reason,
        "trouble": trouble,
        "runId": "5f3a_9b1c",
        "trigger": {"reason": "data", "detail": "a raw file arrived"},
    }
    states = definition["States"]
    variables |= evaluate(states["FreeLocks"]["Assign"], variables=variables)
    name = "NotifyFailed" if outcome == "failed" else "Notify"
    arguments: dict[str, str] = evaluate(states[name]["Arguments"], variables=variables)
    return arguments


@pytest.mark.parametrize("outcome", MESSAGES)
def test_full_text(definition: Definition, evaluate: Any, outcome: str) -> None:
    """What happened, why, what to do, and the command that says more."""
    reason, text = MESSAGES[outcome]
    sent = told(definition, evaluate, outcome=outcome, reason=reason)
    assert text == sent["Message"] + "\n"
    assert f"census in dev: {outcome}" == sent["Subject"]


def test_every_outcome_has_its_words() -> None:
    """No outcome is told without a sentence."""
    assert list(NAMES) == list(OUTCOMES) == list(MESSAGES)


def test_the_longest_message_is_short(definition: Definition, evaluate: Any) -> None:
    """Far below the 256 KiB of SNS, whatever a job said; trouble is told with the reason."""
    sent = told(definition, evaluate, outcome="failed", reason="ValueError: " + "x" * 100_000)
    assert len(sent["Message"].encode()) < 8 * 1024
    sent = told(definition, evaluate, outcome="released", reason="because", trouble="the lock waits")
    assert "Why: because (trouble: the lock waits)" in sent["Message"]


@pytest.mark.parametrize(
    ("outcome", "happened"),
    [
        ("released", "a new model is the champion and scores in batch"),
        ("rejected", "the model was rejected, and the champion stays"),
        ("suppressed", "this trigger started no training"),
    ],
)
def test_a_champion_of_batch_serves_nobody(
    batch_definition: Definition, evaluate: Any, outcome: str, happened: str
) -> None:
    """Where no endpoint serves, no message says that one does."""
    sent = told(batch_definition, evaluate, outcome=outcome, reason="because")
    assert sent["Message"].startswith(f"census in dev: {happened}.\n")
    assert "serves" not in sent["Message"]


STOPPED = " and its training was stopped"


@pytest.mark.parametrize(
    ("project", "training", "stopped", "waits"),
    [
        ("census", "", "", True),
        ("census", "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/dev-census/execution/1", STOPPED, True),
        ("plain", "", "", False),
    ],
)
def test_what_a_run_that_died_leaves(evaluate: Any, project: str, training: str, stopped: str, waits: bool) -> None:
    """The reaper claims only what it did, and says how to reject a package behind which nobody stands."""
    machine = _reaper(CENSUS, replace(CENSUS, name="plain", inner_loop=False, tuning=None))
    variables = {
        "project": project,
        "training": training,
        "status": "ABORTED",
        "why": "",
        "runId": "lost",
        "advice": {"kind": "", "whose": "", "cause": "", "remedy": "see below", "runbook": ""},
    }
    sent = evaluate(machine["States"]["Notify"]["Arguments"]["Message"], variables=variables)
    more = f"More: dual-pipeline explain lost --env dev --project {project}\n"
    left = f"""\
The run did not end by itself: its locks were freed{stopped}. A rollout that it had begun goes on; once the endpoint rests, what does not serve there is removed.
If it had asked for an approval, its package still waits with no run behind it. Approving it would deploy nothing, so reject it:
  aws sagemaker list-model-packages --model-package-group-name dev-census --model-approval-status PendingManualApproval
  dual-pipeline reject PACKAGE --env dev --project census --because "its run has ended\""""
    assert (left if waits else "The run did not end by itself: its locks were freed.") == sent.partition(more)[2]


def test_a_run_that_died_after_its_release_says_so(evaluate: Any) -> None:
    """People hear that the model serves, why the run ended, and what may be missing; nothing of packages that wait."""
    machine = _reaper(CENSUS)
    variables = {
        "project": "census",
        "training": "",
        "status": "ABORTED",
        "why": "",
        "runId": "late",
        "committed": True,
        "outcome": "released",
        "advice": {"kind": "", "whose": "", "cause": "", "remedy": "nothing", "runbook": ""},
    }
    told = machine["States"]["Notify"]["Arguments"]
    assert evaluate(told["Subject"], variables=variables) == "census in dev: released"
    assert (
        evaluate(told["Message"], variables=variables)
        == """\
census in dev: a new model serves and is the champion.

Why: the release stands, the model is the champion; then the execution ended as ABORTED: \n\
Do: nothing
More: dual-pipeline explain late --env dev --project census
The run did not end by itself: its locks were freed. Alarms of the model and the endpoint's scaling may be as they were before: the next release sets them."""
    )


def test_a_scoring_that_died_may_go_on(evaluate: Any) -> None:
    """Of a project that scores in batch no rollout is told, but how to find its job."""
    machine = _reaper(CENSUS, replace(CENSUS, name="scorer", target="batch"))
    message = machine["States"]["Notify"]["Arguments"]["Message"]
    advice = {"kind": "", "whose": "", "cause": "", "remedy": "see below", "runbook": ""}
    known = {"training": "", "status": "ABORTED", "why": "", "runId": "lost", "advice": advice}
    job = "A transform job that it had begun may go on: find it with aws sagemaker list-transform-jobs"
    sent = evaluate(message, variables=known | {"project": "scorer"})
    assert f"{job} --status-equals InProgress --name-contains dev-scorer\n" in sent
    assert (
        "A rollout that it had begun goes on; once the endpoint rests, what does not serve there is removed."
        in evaluate(message, variables=known | {"project": "census"})
    )


def _reaper(*projects: ModelProject) -> Definition:
    environment = Environment(name="dev", region="eu-west-1", projects=projects)
    return reaper_definition(environment=environment, table_name="t", topic_arn="arn:topic")


def test_a_training_that_goes_on_is_not_called_stopped() -> None:
    """What the reaper could not stop is trouble in the reason, and no more."""
    machine = _reaper(CENSUS)
    (caught,) = machine["States"]["StopTraining"]["Catch"]
    assert "" == caught["Assign"]["training"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(86_400, "1 day"), (129_600, "36 hours"), (150, "150 seconds"), (300, "5 minutes")]
)
def test_durations(seconds: int, said: str) -> None:
    """A duration is told in its largest whole unit."""
    assert said == words(seconds)
