"""What the outer loop tells the inner one of the champion, and what it makes of the execution's steps."""

import json
from typing import Any

import pytest

Definition = dict[str, Any]
PIPELINE = "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/dev-census/execution"
PACKAGE = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/dev-census/7"
MODEL = "s3://artifact-bucket/census/executions/abc/evaluate/model/model.tar.gz"


def chosen(state: dict[str, Any], evaluate: Any, variables: dict[str, Any]) -> str:
    """Where a choice goes."""
    for rule in state["Choices"]:
        if evaluate(rule["Condition"], variables=variables):
            return str(rule["Next"])
    return str(state["Default"])


def champion(definition: Definition, evaluate: Any, item: dict[str, Any]) -> dict[str, Any]:
    answer = {"Item": {name: {"S": value} for name, value in item.items()}} if item else {}
    variables: dict[str, Any] = evaluate(definition["States"]["ReadChampion"]["Assign"], result=answer)
    return variables


@pytest.mark.parametrize(
    ("item", "next_"),
    [
        ({"model_package_arn": PACKAGE, "run_id": "r", "model_uri": MODEL}, "StartTraining"),
        ({"model_package_arn": PACKAGE, "run_id": "r"}, "ListApproved"),
        ({}, "ListApproved"),
    ],
)
def test_a_champion_is_one_with_a_model(
    definition: Definition, evaluate: Any, item: dict[str, str], next_: str
) -> None:
    """A pointer that names no model's file is looked into, like none at all."""
    variables = champion(definition, evaluate, item)
    assert next_ == chosen(definition["States"]["HasChampion"], evaluate, variables)


@pytest.mark.parametrize(("approved", "next_"), [([], "StartTraining"), ([{"ModelPackageArn": PACKAGE}], "FreeLocks")])
def test_a_lost_pointer_is_no_first_run(
    definition: Definition, evaluate: Any, approved: list[dict[str, str]], next_: str
) -> None:
    """Without a champion a run goes on only if no package of the group is approved; else it says what to do."""
    states = definition["States"]
    assert {"ModelPackageGroupName": "dev-census", "ModelApprovalStatus": "Approved", "MaxResults": 1} == states[
        "ListApproved"
    ]["Arguments"]
    variables = evaluate(states["ListApproved"]["Assign"], result={"ModelPackageSummaryList": approved})
    assert next_ == chosen(states["IsFirstRun"], evaluate, variables)
    told = evaluate(states["IsFirstRun"]["Assign"], variables={"approved": PACKAGE})
    assert "failed" == told["outcome"]
    assert f"the ledger names no champion although {PACKAGE} is Approved: reject that package" in told["reason"]


@pytest.mark.parametrize(("model", "given"), [(MODEL, {"ChampionUri": MODEL}), ("", {})])
def test_the_champion_is_passed_on(definition: Definition, evaluate: Any, model: str, given: dict[str, str]) -> None:
    """The inner loop gets the champion's file; on a first run its default stands, which says that there is none."""
    variables = {
        "snapshotUri": "s3://data/1/",
        "runId": "r",
        "trigger": {"reason": "data", "detail": ""},
        "champion": {"model": model},
        "verdict": {"uri": "s3://data/verdict.json"},
    }
    asked = evaluate(definition["States"]["StartTraining"]["Arguments"]["PipelineParameters"], variables=variables)
    assert {
        "SnapshotUri": "s3://data/1/",
        "RunId": "r",
        "TriggerReason": "data",
        "TriggerDetail": "",
        "ModelApprovalStatus": "PendingManualApproval",
        "QualityVerdictUri": "s3://data/verdict.json",
        **given,
    } == {parameter["Name"]: parameter["Value"] for parameter in asked}


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        ("", ""),
        ('a café opened,\n"at last" \\o/', 'a café opened,\n"at last" \\o/'),
        ("x" * 1024, "x" * 1000),
        ("x" * 999 + '"quoted"', "x" * 999),
        ("x" * 998 + "\\u00", "x" * 998 + "\\"),
        ("x" * 997 + "\x07", "x" * 997),
        ("\\" * 1024, "\\" * 500),
    ],
)
def test_free_text_fits_a_parameter_and_into_json(
    definition: Definition, evaluate: Any, detail: str, kept: str
) -> None:
    """Escaped and cut, never within an escape, it is the inside of a JSON string of at most 1,000 characters."""
    variables = {
        "snapshotUri": "s3://data/1/",
        "runId": "r",
        "trigger": {"reason": "person", "detail": detail},
        "champion": {"model": ""},
    }
    asked = evaluate(definition["States"]["StartTraining"]["Arguments"]["PipelineParameters"], variables=variables)
    given = next(each["Value"] for each in asked if each["Name"] == "TriggerDetail")
    assert kept == json.loads(f'"{given}"')
    assert len(given) <= 1000


def listed(definition: Definition, evaluate: Any, *steps: dict[str, Any]) -> dict[str, Any]:
    variables: dict[str, Any] = evaluate(
        definition["States"]["ListSteps"]["Assign"],
        result={"PipelineExecutionSteps": list(steps)},
        variables={"pipelineExecutionArn": f"{PIPELINE}/now", "execution": {"status": "Failed", "reason": ""}},
    )
    return variables


@pytest.mark.parametrize(
    ("cached", "execution"),
    [({}, "now"), ({"CacheHitResult": {"SourcePipelineExecutionArn": f"{PIPELINE}/before"}}, "before")],
)
def test_a_cached_evaluation_lies_where_it_ran(
    definition: Definition, evaluate: Any, cached: dict[str, Any], execution: str
) -> None:
    """The report is read from the execution whose job wrote it."""
    steps = [{"StepName": "Train", "StepStatus": "Succeeded"}, {"StepName": "Evaluate", "StepStatus": "Succeeded"}]
    steps[1] |= cached
    assert f"census/executions/{execution}/evaluate/evaluation/" == listed(definition, evaluate, *steps)["folder"]


@pytest.mark.parametrize(
    ("step", "next_", "reason"),
    [
        ("Refused", "ReadEvaluation", ""),
        ("BadParameters", "IsRegistered", "AwaitTraining: the pipeline execution failed; step BadParameters: no"),
        ("Decide", "IsRegistered", "AwaitTraining: the pipeline execution failed; step Decide: no"),
    ],
)
def test_a_refused_model_is_no_failure(
    definition: Definition, evaluate: Any, step: str, next_: str, reason: str
) -> None:
    """An execution that its step Refused ended is judged by its report; any other failed step is the reason."""
    variables = listed(
        definition,
        evaluate,
        {"StepName": "Evaluate", "StepStatus": "Succeeded"},
        {"StepName": step, "StepStatus": "Failed", "FailureReason": "no"},
    )
    execution = {"execution": {"status": "Failed", "reason": ""}}
    state = definition["States"]["CheckTraining"]
    assert next_ == chosen(state, evaluate, variables | execution)
    if reason:
        assert reason == evaluate(state["Assign"], variables=variables | execution)["reason"]


@pytest.mark.parametrize(
    ("metrics", "kept"),
    [
        (
            {
                "auc": {"value": 0.9, "standard_deviation": 0.1},
                "confusion_matrix": {"0": {"0": 1}},
                "f1": {"value": None},
            },
            {"auc": {"value": 0.9, "standard_deviation": 0.1}},
        ),
        ({"confusion_matrix": {"0": {"0": 1}}}, {}),
        ("none", {}),
        (None, {}),
    ],
)
def test_numbers_of_the_report_are_kept(
    definition: Definition, evaluate: Any, metrics: object, kept: dict[str, Any]
) -> None:
    """The run remembers metrics that are numbers; curves and matrices stay in the report, garbage is no failure."""
    report = json.dumps({"binary_classification_metrics": metrics, "gate": {"passed": True, "reasons": []}})
    found = evaluate(
        definition["States"]["ReadEvaluation"]["Assign"], result={"Body": report}, variables={"folder": "f/"}
    )
    assert {"metrics": kept, "champion": {}, "passed": True, "reasons": "", "folder": "f/"} == found["evaluation"]


def test_what_fails_after_registration_is_rejected(definition: Definition) -> None:
    """From the registration to the release every failure passes RejectPackage, so that Approved means champion."""
    states = definition["States"]
    assert "IsRegistered" == states["ReadEvaluation"]["Catch"][-1]["Next"]
    assert ["RejectPackage"] == [rule["Next"] for rule in states["IsRegistered"]["Choices"]]
    way = ("TakeReleaseLock", "CheckChampion", "Preflight", "CreateModel", "CreateEndpointConfig")
    assert {"RejectPackage"} == {states[name]["Catch"][-1]["Next"] for name in (*way, "AwaitApproval")}
    assert {"RejectPackage"} == {states[name]["Default"] for name in ("CanRelease", "DoesItMove", "CheckRollout")}


CAUGHT = {"Error": "States.QueryEvaluationError"}


@pytest.mark.parametrize(
    ("which", "state", "late"),
    [
        ("alone", "TrainModel", "it took longer than 7200 s (limits.job)"),
        ("alone", "SmokeTrain", "it took longer than 900 s (smoke_training.max_time)"),
        ("plain", "SmokeTrain", "it took longer than 900 s (smoke_training.max_time)"),
    ],
)
def test_only_a_completed_job_lets_a_run_go_on(
    which: str, state: str, late: str, definition: Definition, alone_definition: Definition, evaluate: Any
) -> None:
    """Whatever `.sync` does with a stopped job, its state fails, and the catcher tells why in the job's words."""
    task = {"alone": alone_definition, "plain": definition}[which]["States"][state]
    job = {"TrainingJobStatus": "Completed", "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"}}
    assert evaluate(task["Assign"], result=job)
    (catcher,) = task["Catch"]
    for secondary, told in (("MaxRuntimeExceeded", late), ("Stopped", "before its end (Stopped)")):
        stopped = job | {"TrainingJobStatus": "Stopped", "SecondaryStatus": secondary}
        with pytest.raises(Exception, match=rf"the training job was stopped before its end \({secondary}\)$") as error:
            evaluate(task["Assign"], result=stopped)
        said = evaluate(catcher["Assign"], error=CAUGHT | {"Cause": f"The expression failed. {error.value}: see."})
        assert "failed" == said["outcome"]
        assert said["reason"].startswith("Here: the training job was stopped")
        assert said["reason"].endswith(told)
