"""A training job that the machine itself starts and follows, made as the inner loop makes its own."""

import json
from collections.abc import Mapping

from dual_pipeline.asl import SAGEMAKER_JOB_ERRORS, State, Statement, catch, jsonata, quote, retry
from dual_pipeline.hyperparameters import Value
from dual_pipeline.instance_types import takes_volume_key
from dual_pipeline.loop_contract import OFFLINE
from dual_pipeline.model_project import Training
from dual_pipeline.outer_loop.setting import CAUSE_TEXT, REDRIVE, RETRY, Setting, TrainingCode, seconds

JOB_RETRY = [retry(SAGEMAKER_JOB_ERRORS, attempts=3, interval_s=10, most_s=120)]
_PAGE = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html"
_STOPPED = "the training job was stopped before its end"
_CHECKPOINTS = "/opt/ml/checkpoints"


def unique_name(setting: Setting, kind: str) -> str:
    """A name of at most 63 characters that no retry and no redrive gives twice, for SageMaker keeps names for ever."""
    return jsonata(f"'{setting.prefix}-{kind}-' & $id & '-' & {RETRY} & '-' & {REDRIVE}")


def training_job(
    setting: Setting,
    *,
    kind: str,
    data: str,
    output: str,
    instance: str,
    volume_gib: int,
    max_s: int,
    hyperparameters: Mapping[str, Value],
    training: Training,
) -> State:
    """The request for the job `<environment>-<project>-<kind>-...`: the folder `alone` on the channel `data`.

    Its model lies in `<project>/<output>/<job>/output/` of the artifact bucket.
    """
    code = code_of(setting)
    project, key = setting.project, {"VolumeKmsKeyId": setting.key_arn}
    artifacts = f"s3://{setting.artifact_bucket}/{project.name}"
    job: State = {
        "TrainingJobName": unique_name(setting, kind),
        "RoleArn": code.role_arn,
        "AlgorithmSpecification": {"TrainingImage": code.image, "TrainingInputMode": "File"},
        "HyperParameters": {
            **{name: _text(value) for name, value in hyperparameters.items()},
            "device": training.device,
            "sagemaker_program": "alone.py",
            "sagemaker_submit_directory": f"/opt/ml/input/data/code/{code.file}",
        },
        "Environment": OFFLINE | ({"CHECKPOINT_DIR": _CHECKPOINTS} if training.spot else {}),
        "InputDataConfig": [_channel("code", code.uri), _channel("data", data)],
        "OutputDataConfig": {"S3OutputPath": f"{artifacts}/{output}/", "KmsKeyId": setting.key_arn},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": instance,
            "VolumeSizeInGB": volume_gib,
            **(key if takes_volume_key(instance) else {}),
        },
        "StoppingCondition": {
            "MaxRuntimeInSeconds": max_s,
            **({"MaxWaitTimeInSeconds": seconds(training.max_wait)} if training.spot else {}),
        },
        "EnableNetworkIsolation": True,
        "Tags": setting.tags(),
    }
    if training.spot:
        job["EnableManagedSpotTraining"] = True
        job["CheckpointConfig"] = {"S3Uri": f"{artifacts}/checkpoints/alone", "LocalPath": _CHECKPOINTS}
    return job | setting.network


def completed(value: str) -> str:
    """JSONata for `value`, of what a job was in the end, that fails its state unless the job is Completed.

    No page says that `.sync` fails for a job that was stopped, so that nothing unfinished may pass if it does not.
    """
    stopped = f"$error({quote(_STOPPED)} & ' (' & $states.result.SecondaryStatus & ')')"
    return jsonata(f"$states.result.TrainingJobStatus = 'Completed' ? {value} : {stopped}")


def job_failed(limit: str, max_s: int) -> State:
    """The catcher of a job's failure, with the job's own reason, or that it took longer than `limit`, a setting."""
    # A job that was stopped for its time has no FailureReason, only this secondary status.
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html
    late = "$contains($states.errorOutput.Cause & '', 'MaxRuntimeExceeded')"
    told = f"$states.context.State.Name & ': the training job was stopped, for it took longer than {max_s} s ({limit})'"
    # How Step Functions words an error of `completed` is not documented; this much of it is ours.
    match = rf"$match($states.errorOutput.Cause & '', /{_STOPPED} \(\w*\)/)[0].match"
    assigned: Mapping[str, object] = {
        "outcome": "failed",
        "failedState": jsonata("$states.context.State.Name"),
        "reason": jsonata(
            f"($stopped := {match}; {late} ? {told}"
            f" : $exists($stopped) ? $states.context.State.Name & ': ' & $stopped : {CAUSE_TEXT})"
        ),
    }
    return catch(next_="FreeLocks", assign=assigned)


def job_statements(setting: Setting, kind: str) -> tuple[Statement, ...]:
    """What starting such a job takes, following it to its end, and stopping it with the execution."""
    jobs = setting.arn("sagemaker", f"training-job/{setting.prefix}-{kind}-*")
    rule = setting.arn("events", "rule/StepFunctionsGetEventsForSageMakerTrainingJobsRule")
    return (
        Statement(
            actions=(
                "sagemaker:AddTags",
                "sagemaker:CreateTrainingJob",
                "sagemaker:DescribeTrainingJob",
                "sagemaker:ListTags",
                "sagemaker:StopTrainingJob",
            ),
            resources=(jobs,),
            source=_PAGE,
        ),
        Statement(
            actions=("events:DescribeRule", "events:PutRule", "events:PutTargets"), resources=(rule,), source=_PAGE
        ),
        Statement(
            actions=("iam:PassRole",),
            resources=(code_of(setting).role_arn,),
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms",
        ),
        Statement(
            actions=("kms:CreateGrant",),
            resources=(setting.key_arn,),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html",
        ),
    )


def code_of(setting: Setting) -> TrainingCode:
    """The code of the machine's own training jobs; raises ValueError where nobody gave it."""
    if setting.training_code is None:
        raise ValueError(f"{setting.machine_name} trains itself and needs training_code, got None: give it")
    return setting.training_code


def _channel(name: str, uri: str) -> State:
    source = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated", "S3Uri": uri}
    return {"ChannelName": name, "InputMode": "File", "DataSource": {"S3DataSource": source}}


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
