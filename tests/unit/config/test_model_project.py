"""Model projects refuse values that a later deploy, job or rollout would fail on."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline.errors import ConfigError
from dual_pipeline.model_project import (
    Approval,
    BatchInference,
    BatchScoring,
    Drift,
    ExternalCheck,
    Gates,
    Ingest,
    Instances,
    Limits,
    ModelProject,
    OptionalSteps,
    Rollout,
    Schedule,
    SmokeTraining,
    Training,
    Watch,
)
from dual_pipeline.ruleset import Rule, Ruleset
from pipeline_code.census.project import CENSUS


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        (Gates, "min_auc", 1.2, "Gates.min_auc must be a number from 0.5 to 1, got 1.2"),
        (Gates, "min_auc", True, "Gates.min_auc must be a number from 0.5 to 1, got True"),
        (Gates, "min_accuracy", "0.8", "Gates.min_accuracy must be a number from 0 to 1, got '0.8'"),
        (Gates, "max_auc_drop", 0.6, "Gates.max_auc_drop must be a number from 0 to 0.5, got 0.6"),
        (Gates, "segments", ["gender"], "Gates.segments must be a tuple of column names, got ['gender']"),
        (Gates, "segments", ("a", "a"), "Gates.segments must be without duplicate names, got ('a', 'a')"),
        (Instances, "training", "m5.large", "Instances.training must be an instance type that SageMaker offers for training, such as ml.m5.large, got 'm5.large'"),
        (Instances, "processing", "ml.trn1.2xlarge", "Instances.processing must be an instance type that SageMaker offers for processing, such as ml.m5.large, got 'ml.trn1.2xlarge'"),
        (Instances, "processing_count", 0, "Instances.processing_count must be a whole number from 1 to 100, got 0"),
        (Training, "device", "gpu", "Training.device must be one of cpu, cuda, got 'gpu'"),
        (Training, "spot", 1, "Training.spot must be a bool, got 1"),
        (SmokeTraining, "instance", "m5.large", "SmokeTraining.instance must be an instance type that SageMaker offers for training, such as ml.m5.large, got 'm5.large'"),
        (SmokeTraining, "volume_gib", 0, "SmokeTraining.volume_gib must be a whole number from 1 to 16384, got 0"),
        (SmokeTraining, "max_time", timedelta(hours=2), "SmokeTraining.max_time must be a timedelta of whole seconds from 0:01:00 to 1:00:00, got datetime.timedelta(seconds=7200)"),
        (SmokeTraining, "hyperparameters", None, "SmokeTraining.hyperparameters must be a mapping from names to values, got None"),
        (ExternalCheck, "instructions", "", "ExternalCheck.instructions must be 1 to 1024 characters, got ''"),
        (BatchScoring, "instance", "ml.t3.large", "BatchScoring.instance must be an instance type that SageMaker offers for transform, such as ml.m5.large, got 'ml.t3.large'"),
        (OptionalSteps, "external_check", True, "OptionalSteps.external_check must be a ExternalCheck, got True"),
        (OptionalSteps, "refused", "die", "OptionalSteps.refused must be one of fail, succeed, got 'die'"),
        (Instances, "volume_gib", 0, "Instances.volume_gib must be a whole number from 1 to 16384, got 0"),
        (Ingest, "worker_type", "Standard", "Ingest.worker_type must be one of G.1X, G.2X, G.4X, G.8X, got 'Standard'"),
        (Ingest, "workers", 1, "Ingest.workers must be a whole number from 2 to 299, got 1"),
        (Drift, "every", timedelta(minutes=90), "Drift.every must be a timedelta of whole hours from 1:00:00 to 6 days, got datetime.timedelta(seconds=5400)"),
        (Drift, "every", timedelta(days=7), "Drift.every must be a timedelta of whole hours from 1:00:00 to 6 days, got datetime.timedelta(days=7)"),
        (Drift, "label_window", timedelta(hours=1), "Drift.label_window must be a timedelta of whole seconds from 1 day, 0:00:00 to 90 days, 0:00:00, got datetime.timedelta(seconds=3600)"),
        (Drift, "min_rows", 1, "Drift.min_rows must be a whole number from 30 to 10000000, got 1"),
        (Drift, "alpha", 0.5, "Drift.alpha must be a number from 1e-06 to 0.2, got 0.5"),
        (Drift, "max_psi", 0, "Drift.max_psi must be a number from 0.01 to 10, got 0"),
        (Drift, "instance", "m5.large", "Drift.instance must be an instance type that SageMaker offers for processing, such as ml.m5.large, got 'm5.large'"),
        (Approval, "mode", "never", "Approval.mode must be one of auto, one, two, got 'never'"),
        (Rollout, "canary_percent", 60, "Rollout.canary_percent must be a whole number from 1 to 50, got 60"),
        (Rollout, "strategy", "big-bang", "Rollout.strategy must be one of all-at-once, canary, linear, got 'big-bang'"),
        (Watch, "max_4xx_percent", 100, "Watch.max_4xx_percent must be a number from 0 to 99, got 100"),
        (Watch, "max_p99_overhead_ms", 0, "Watch.max_p99_overhead_ms must be a number from 1 to 60000, got 0"),
        (Watch, "max_cpu_percent", -1, "Watch.max_cpu_percent must be a number from 0 to 99, got -1"),
        (Watch, "quiet_endpoint", 420, "Watch.quiet_endpoint must be a timedelta of a multiple of five minutes up to a day, or None, got 420"),
        (Watch, "quiet_endpoint", timedelta(minutes=7), "Watch.quiet_endpoint must be a timedelta of a multiple of five minutes up to a day, or None, got datetime.timedelta(seconds=420)"),
        (Watch, "quiet_loop", timedelta(days=8), "Watch.quiet_loop must be a timedelta of 1 to 7 whole days, or None, got datetime.timedelta(days=8)"),
        (Rollout, "max_instance_count", 0, "Rollout.max_instance_count must be a whole number from 1 to 1000, got 0"),
        (Limits, "runs_per_day", 0, "Limits.runs_per_day must be a whole number from 1 to 1000, got 0"),
        (Limits, "parallel_steps", 0, "Limits.parallel_steps must be a whole number from 1 to 50, got 0"),
    ],
)  # fmt: skip
def test_bad_field_is_named_with_value_and_what_is_allowed(kind: Any, field: str, value: Any, message: str) -> None:
    """A field out of range raises one error that names it, the value got and what is allowed."""
    with pytest.raises(ConfigError) as error:
        kind(**{field: value})
    assert message == str(error.value)


def test_canary_needs_two_instances() -> None:
    """A canary on one instance is refused, for SageMaker would refuse it during the first update."""
    with pytest.raises(ConfigError, match=r"^Rollout\.instance_count must be a whole number from 2 to 100, got 1$"):
        Rollout(strategy="canary", instance_count=1)


def test_canary_alarm_can_fire() -> None:
    """An error threshold above the canary's traffic share is refused: the alarm could never fire."""
    with pytest.raises(ConfigError, match=r"^Rollout\.max_error_percent must be below canary_percent \(5\), got 8$"):
        Rollout(strategy="canary", instance_count=2, canary_percent=5, max_error_percent=8)


@pytest.mark.parametrize("strategy", ["canary", "linear"])
def test_alarms_on_errors_can_fire_at_the_first_step(strategy: Any) -> None:
    """The same threshold is refused for linear steps, of which the first is the least share that a bad model answers."""
    with pytest.raises(ConfigError, match=r"^Rollout\.max_error_percent must be below canary_percent \(10\), got 10$"):
        Rollout(strategy=strategy, instance_count=2, canary_percent=10, max_error_percent=10)
    Rollout(strategy="all-at-once", canary_percent=10, max_error_percent=10)


def test_the_slowest_answers_can_be_the_canarys() -> None:
    """A canary of 1 % is refused: it cannot move the p99 of all answers."""
    with pytest.raises(ConfigError, match=r"^Rollout\.canary_percent must be a whole number from 2 to 50, got 1$"):
        Rollout(strategy="canary", instance_count=2, canary_percent=1, max_error_percent=0.5)


def test_linear_steps_are_what_sagemaker_takes() -> None:
    """A linear step below 10 % is refused, for SageMaker would refuse it during the first update."""
    with pytest.raises(ConfigError, match=r"^Rollout\.canary_percent must be a whole number from 10 to 50, got 5$"):
        Rollout(strategy="linear", instance_count=2, canary_percent=5)


@pytest.mark.parametrize("strategy", ["canary", "linear"])
def test_a_bake_is_as_long_as_the_alarms_need(strategy: Any) -> None:
    """Rollback alarms want two of three minutes: a shorter wait is refused where there is something to wait for."""
    wanted = r"^Rollout\.wait must be a timedelta of whole seconds from 0:03:00 to 1:00:00, got "
    with pytest.raises(ConfigError, match=wanted):
        Rollout(strategy=strategy, instance_count=2, wait=timedelta(seconds=179))
    assert timedelta(minutes=3) == Rollout(strategy=strategy, instance_count=2, wait=timedelta(minutes=3)).wait
    assert not Rollout(strategy="all-at-once", wait=timedelta(0)).wait


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"instance_count": 3, "canary_percent": 34}, "canary_percent must be what rounds up to at most half of 3 instances, got 34"),
        ({"instance_count": 2, "max_instance_count": 6, "canary_percent": 50}, "canary_percent must be what rounds up to at most half of 3 instances, got 50"),
        ({"instance_count": 4, "max_instance_count": 5, "canary_percent": 41}, "canary_percent must be what rounds up to at most half of 5 instances, got 41"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("strategy", ["canary", "linear"])
def test_the_first_share_is_at_most_half_of_the_instances(strategy: Any, given: Any, told: str) -> None:
    """Whole instances are what goes first: a share that is more than half of a fleet, as small as scaling makes it."""
    with pytest.raises(ConfigError) as error:
        Rollout(strategy=strategy, **given)
    assert f"Rollout.{told}" == str(error.value)
    Rollout(strategy="all-at-once", **given)


@pytest.mark.parametrize(("instances", "percent"), [(2, 2), (2, 50), (3, 33), (6, 50), (100, 20)])
def test_shares_of_whole_instances_are_taken(instances: int, percent: int) -> None:
    """What is half of the instances or less after rounding up."""
    assert Rollout(strategy="canary", instance_count=instances, canary_percent=percent)


@pytest.mark.parametrize(
    ("strategy", "waits"), [("all-at-once", "1 wait"), ("canary", "1 wait"), ("linear", "5 waits")]
)
def test_a_rollout_outlasts_its_waits(strategy: Any, waits: str) -> None:
    """A deadline that the waits alone use up is refused: every update would be rolled back, or refused."""
    with pytest.raises(ConfigError, match=rf"^Rollout\.deadline must be longer than {waits} of 0:30:00, got "):
        Rollout(strategy=strategy, instance_count=2, wait=timedelta(minutes=30), deadline=timedelta(minutes=30))


def test_a_job_may_not_outlast_its_phase() -> None:
    """A job limit above the training phase's is refused."""
    with pytest.raises(ConfigError, match=r"^Limits\.job must be a timedelta of whole seconds from 0:01:00 to 1:00:00"):
        Limits(job=timedelta(hours=2), training=timedelta(hours=1))


@pytest.mark.parametrize("name", ["", "Census", "census_", "-census", "census-", "a" * 25, "cen--sus"])
def test_project_names_fit_every_resource_name(name: str) -> None:
    """Names that could not become part of a SageMaker resource name are refused."""
    with pytest.raises(ConfigError, match=r"^ModelProject\.name must be "):
        replace(CENSUS, name=name)


def test_the_platform_keeps_its_folder() -> None:
    """The folder of the platform's own jobs is no project's."""
    with pytest.raises(ConfigError) as error:
        replace(CENSUS, name="platform-jobs")
    wanted = "another name than platform-jobs, for pipeline_code/platform_jobs holds the platform's own jobs"
    assert f"ModelProject.name must be {wanted}, got 'platform-jobs'" == str(error.value)


def test_folder_follows_the_name() -> None:
    """A project's code lies in pipeline_code under its name with underscores."""
    assert "pipeline_code/credit_risk" == replace(CENSUS, name="credit-risk").folder


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_gates_hold_finite_numbers_in_range_only(value: float) -> None:
    """Whatever number is given, a gate exists only when it lies between 0.5 and 1."""
    if math.isfinite(value) and 0.5 <= value <= 1:
        assert value == Gates(min_auc=value).min_auc
    else:
        with pytest.raises(ConfigError):
            Gates(min_auc=value)


def test_parts_of_the_wrong_type_are_refused() -> None:
    """A part given as a plain dict is refused with the name of the type it must have."""
    with pytest.raises(ConfigError, match=r"^ModelProject\.gates must be a Gates, got \{"):
        ModelProject(name="x", contract=CENSUS.contract, ruleset=CENSUS.ruleset, gates={"min_auc": 1})  # type: ignore[arg-type]


def test_a_gpu_device_needs_a_gpu() -> None:
    """`device="cuda"` on an instance without a GPU is refused with one that has it."""
    with pytest.raises(ConfigError, match=r"'cuda' needs a GPU, which ml\.m5\.xlarge lacks: .* such as ml\.g5\.xlarge"):
        replace(CENSUS, training=Training(device="cuda"))
    gpu = replace(
        CENSUS,
        training=Training(device="cuda"),
        instances=Instances(training="ml.g5.2xlarge"),
        smoke_training=SmokeTraining(instance="ml.g5.xlarge"),
    )
    assert "cuda" == gpu.training.device


def test_spot_waits_at_least_as_long_as_it_trains() -> None:
    """A wait shorter than the job's own limit is refused, for SageMaker would refuse it."""
    with pytest.raises(ConfigError, match=r"^Training\.max_wait must be at least Limits\.job \(2:00:00\), got 1:00:00"):
        replace(CENSUS, training=Training(spot=True, max_wait=timedelta(hours=1)))


def test_segments_are_columns_of_the_data() -> None:
    """A segment that the data does not have is refused with the columns it has."""
    with pytest.raises(ConfigError, match=r"^Gates\.segments must name columns of the data contract, got \['sex'\]"):
        replace(CENSUS, gates=Gates(segments=("sex",)))


@pytest.mark.parametrize(
    "expression",
    ["rate(1 day)", "rate(1 hour)", "rate(36 hours)", "cron(0 3 ? * MON-FRI *)", "cron(15 */6 1,15 * ? 2027)"],
)
def test_schedules(expression: str) -> None:
    """A rate of an hour at least or a cron with six fields is a schedule."""
    assert expression == Schedule(expression=expression).expression


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)",
        "rate(0 days)",
        "rate(1 days)",
        "cron(* 3 ? * MON *)",
        "cron(*/5 3 ? * MON *)",
        "cron(0 3 * * MON *)",
        "cron(0 3 ? * ? *)",
        "cron(0 3 ? * MON)",
        "cron(0 25 ? * MON *)",
        "cron(0 3 32 * ? *)",
        "cron(0 3 ? 13 MON *)",
        "cron(0 3 ? * 8 *)",
        "cron(0 3 ? * MON 1066)",
        "daily",
        "",
        None,
    ],
)
def test_bad_schedules(expression: Any) -> None:
    """What Scheduler would refuse, or what would start more than one run an hour, is refused."""
    with pytest.raises(ConfigError, match=r"^Schedule\.expression must be rate\(1 day\), .*, got "):
        Schedule(expression=expression)


def test_a_schedule_has_a_known_time_zone() -> None:
    """An unknown time zone is refused with an example."""
    with pytest.raises(ConfigError, match=r"^Schedule\.timezone must be .* such as Europe/Berlin, got 'Mars'"):
        Schedule(expression="rate(1 day)", timezone="Mars")


def test_a_cool_down_is_not_negative() -> None:
    """A negative cool-down is refused."""
    with pytest.raises(ConfigError, match=r"^Limits\.cool_down must be a timedelta of whole seconds from 0:00:00 to 7"):
        Limits(cool_down=timedelta(seconds=-1))


def test_rules_are_about_columns_of_the_data() -> None:
    """A rule about a column that the contract lacks is refused before anything is deployed."""
    ruleset = Ruleset(rules=(Rule(kind="IsComplete", column="sex"),))
    wanted = r'^ModelProject\.ruleset must fit the data contract: IsComplete "sex" names the column sex, which the data'
    with pytest.raises(ConfigError, match=wanted):
        replace(CENSUS, ruleset=ruleset)


def test_mlflow_is_refused_by_name() -> None:
    """Experiments are SageMaker's; another tracker is not silently left out."""
    wanted = r"^ModelProject\.experiments must be True .*; MLflow is not supported, got 'mlflow'"
    with pytest.raises(ConfigError, match=wanted):
        replace(CENSUS, experiments="mlflow")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smoke_training": True}, "ModelProject.smoke_training must be a SmokeTraining, got True"),
        (
            {"smoke_training": SmokeTraining(hyperparameters={"rounds": 5})},
            "SmokeTraining.hyperparameters must be among the project's, got ['rounds']: it has"
            " ['early_stopping_rounds', 'eta', 'max_depth', 'min_child_weight', 'num_round', 'subsample']",
        ),
        (
            {"smoke_training": SmokeTraining(hyperparameters={"num_round": 0})},
            "SmokeTraining.hyperparameters['num_round'] must be a whole number from 1 to 5000, got 0",
        ),
        (
            {"training": Training(device="cuda"), "instances": Instances(training="ml.g5.xlarge")},
            "SmokeTraining.instance must have a GPU for Training.device 'cuda', got 'ml.m5.large': set it to one that"
            " has it, such as ml.g5.xlarge",
        ),
        ({"inner_loop": 1}, "ModelProject.inner_loop must be a bool, got 1"),
        (
            {"inner_loop": False, "tuning": None, "experiments": True},
            "ModelProject.experiments is a part of the inner loop, got True with inner_loop=False: leave it out, or"
            " keep the inner loop",
        ),
        (
            {"inner_loop": False, "tuning": None, "limits": Limits(training=timedelta(hours=2))},
            "Limits.training must be at least 2:30:00 with inner_loop=False, Limits.job and half an hour for the start of"
            " the instance, got 2:00:00: raise it, or lower Limits.job",
        ),
        (
            {
                "inner_loop": False,
                "tuning": None,
                "training": Training(spot=True),
                "limits": Limits(training=timedelta(hours=4, minutes=29)),
            },
            "Limits.training must be at least 4:30:00 with inner_loop=False, Training.max_wait and half an hour for the"
            " start of the instance, got 4:29:00: raise it, or lower Training.max_wait",
        ),
        ({"workflows": ["a"]}, "ModelProject.workflows must be a tuple of Workflow, got ['a']"),
    ],
)
def test_training_outside_the_inner_loop_is_checked(changes: dict[str, Any], message: str) -> None:
    """A smoke training, a project without an inner loop and own workflows refuse what could not run."""
    with pytest.raises(ConfigError) as error:
        replace(CENSUS, **changes)
    assert message == str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target": "serverless"},
            "ModelProject.target 'serverless' is not supported, for a serverless endpoint has neither network isolation"
            " nor a VPC, no data capture to watch for drift, and no instances of which a canary could be a part: choose"
            " one of endpoint, batch",
        ),
        (
            {"target": "asynchronous"},
            "ModelProject.target 'asynchronous' is not supported, for an asynchronous endpoint puts its answers into S3"
            " some time later, so that a release cannot ask it its golden rows, and rollback alarms hear of errors when"
            " the bake may be over: choose one of endpoint, batch",
        ),
        ({"target": "edge"}, "ModelProject.target must be one of batch, endpoint, got 'edge'"),
        ({"target": None}, "ModelProject.target must be one of batch, endpoint, got None"),
        (
            {"target": "batch", "inner_loop": False, "tuning": None},
            "ModelProject.target is where models go that the inner loop registers, got 'batch' with inner_loop=False:"
            " leave it out, or keep the inner loop",
        ),
        (
            {"batch": BatchInference(max_payload_mb=1)},
            "ModelProject.batch is read with target 'batch' only, got BatchInference(instance='ml.m5.large',"
            " instance_count=1, max_time=datetime.timedelta(seconds=7200), max_payload_mb=1, strategy='multi-record')"
            " with target 'endpoint': set the target to 'batch', or leave it out",
        ),
        ({"batch": True}, "ModelProject.batch must be a BatchInference, got True"),
    ],
)
def test_a_target_is_one_that_a_release_can_guard(changes: dict[str, Any], message: str) -> None:
    """Endpoint or batch; other kinds of endpoints are refused by name with what a release would lose."""
    with pytest.raises(ConfigError) as error:
        replace(CENSUS, **changes)
    assert message == str(error.value)


def test_a_rollout_is_no_part_of_batch() -> None:
    """What is said of an endpoint's rollout would go unheard."""
    with pytest.raises(ConfigError, match=r"^ModelProject\.rollout is for target 'endpoint', got Rollout\("):
        replace(CENSUS, target="batch", rollout=Rollout(strategy="canary", instance_count=2))


def test_where_models_go_decides_what_is_made() -> None:
    """An endpoint, a batch, or neither without an inner loop."""
    found = [
        (project.deploys_endpoint, project.scores_in_batch)
        for project in (
            CENSUS,
            replace(CENSUS, target="batch"),
            replace(CENSUS, inner_loop=False, tuning=None),
        )
    ]
    assert [(True, False), (False, True), (False, False)] == found


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("instance", "ml.huge", "BatchInference.instance must be an instance type that SageMaker offers for transform"),
        ("instance_count", 0, "BatchInference.instance_count must be a whole number from 1 to 100, got 0"),
        ("max_time", timedelta(seconds=1), "BatchInference.max_time must be a timedelta of whole seconds from 0:01:00"),
        ("max_payload_mb", 0, "BatchInference.max_payload_mb must be a whole number from 1 to 100, got 0"),
        ("strategy", "all", "BatchInference.strategy must be one of multi-record, single-record, got 'all'"),
    ],
)
def test_batch_inference_is_checked(field: str, value: Any, message: str) -> None:
    """What SageMaker would refuse, or what nobody could pay, is refused by name."""
    with pytest.raises(ConfigError) as error:
        BatchInference(**{field: value})
    assert str(error.value).startswith(message)


def test_what_shapes_the_inner_loop_needs_one() -> None:
    """A project without an inner loop that configures its tuning is refused; without it, it is one."""
    with pytest.raises(ConfigError, match=r"^ModelProject\.tuning is a part of the inner loop, got Tuning\("):
        replace(CENSUS, inner_loop=False)
    assert not replace(CENSUS, inner_loop=False, tuning=None).inner_loop


def test_one_training_job_may_fill_the_time_but_for_its_start() -> None:
    """Half an hour more than the job's own limit is enough without an inner loop, and with one it is not asked for."""
    limits = Limits(job=timedelta(hours=2), training=timedelta(hours=2, minutes=30))
    assert not replace(CENSUS, inner_loop=False, tuning=None, limits=limits).inner_loop
    assert replace(CENSUS, limits=replace(limits, training=limits.job)).inner_loop


def test_drift_is_watched_where_something_is_captured() -> None:
    """By default; not without an inner loop, which has no endpoint, nor without capture, nor where it is left out."""
    assert Drift() == CENSUS.watched
    assert replace(CENSUS, rollout=Rollout(capture_percent=0)).watched is None
    assert replace(CENSUS, drift=None).watched is None
    assert replace(CENSUS, inner_loop=False, tuning=None).watched is None


def test_drift_is_refused_without_an_inner_loop() -> None:
    """What is asked for and could never happen is a mistake."""
    with pytest.raises(ConfigError, match=r"ModelProject.drift is a part of the inner loop, got Drift\("):
        replace(CENSUS, inner_loop=False, tuning=None, drift=Drift(min_rows=500))
    with pytest.raises(ConfigError, match=r"ModelProject.drift must be a Drift, got 'daily'"):
        replace(CENSUS, drift="daily")  # type: ignore[arg-type]
