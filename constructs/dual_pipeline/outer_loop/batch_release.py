"""Releases an approved model to batch inference: it answers its golden rows, scores what waits, and is the champion.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

from collections.abc import Mapping

from dual_pipeline.asl import Fragment, State, Statement, catch, choice, jsonata, quote, task
from dual_pipeline.instance_types import takes_volume_key
from dual_pipeline.loop_contract import GOLDEN_REQUEST_FILE, SCORES
from dual_pipeline.outer_loop.commit import commit_release
from dual_pipeline.outer_loop.golden_rows import read_golden_rows, wrong_answers
from dual_pipeline.outer_loop.quality import S3_RETRY
from dual_pipeline.outer_loop.release_turn import stand_in_line
from dual_pipeline.outer_loop.setting import (
    CAUSE,
    CHECK_S,
    FAILED_AFTER_APPROVAL,
    STARTING_S,
    Setting,
    last_segment,
    seconds,
)
from dual_pipeline.outer_loop.training import SAGEMAKER_RETRY
from dual_pipeline.outer_loop.training_job import JOB_RETRY, unique_name

CHECK, SCORE = "smoke", "score"
# Enough to see past the console's empty folders, and with the longest keys far from the limit of a state's payload.
_LOOKED_AT = 100
_PAGE = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html"
_SAGEMAKER_PAGE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"


def batch_release(setting: Setting) -> Fragment:
    """Nothing of the champion's is touched before the new model has done its work; what fails rejects its package."""
    batch = setting.project.batch
    limit_s = seconds(batch.max_time)
    place = f"s3://{setting.data_bucket}/{setting.records}"
    released: State = {
        "orphan": False,
        "outcome": "released",
        "failedState": "",
        "reason": jsonata(
            "'the model answers its golden rows in batch and '"
            f" & ($hasRecords ? 'scored the records below {place}; the scores lie in ' & $scoresUri"
            f" : 'found nothing to score below {place}')"
            " & '; package ' & $packageArn & ', approved'"
            " & ($approval.by != '' ? ' by ' & $approval.by : '')"
            " & ($approval.words != '' ? ': ' & $approval.words : '')"
        ),
    }
    states: dict[str, State] = {
        **stand_in_line(setting, next_="FindRecords"),
        "FindRecords": task(
            "aws-sdk:s3:listObjectsV2",
            arguments={"Bucket": setting.data_bucket, "Prefix": setting.records, "MaxKeys": _LOOKED_AT},
            timeout_s=60,
            retries=S3_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            # Behind so many empty objects there may be records: the job finds out.
            assign={
                "hasRecords": jsonata(
                    "$states.result.IsTruncated = true or $count($states.result.Contents[Size > 0]) > 0"
                ),
                "scoresUri": "",
            },
            next_="CreateModel",
        ),
        "CreateModel": task(
            "aws-sdk:sagemaker:createModel",
            arguments=setting.model(
                name=unique_name(setting, SCORE), Containers=[{"ModelPackageName": jsonata("$packageArn")}]
            ),
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            # Until it is the champion's.
            assign={"modelName": jsonata(last_segment("$states.result.ModelArn")), "orphan": True},
            next_="ReadGoldenRows",
        ),
        **read_golden_rows(setting, next_="SmokeScore"),
        "SmokeScore": task(
            "sagemaker:createTransformJob.sync",
            arguments=_transform(
                setting,
                kind=CHECK,
                source={
                    "uri": jsonata(f"'s3://{setting.artifact_bucket}/' & $evaluation.folder & '{GOLDEN_REQUEST_FILE}'"),
                    "ContentType": jsonata("$golden.content_type"),
                    "SplitType": "None",
                },
                target={"folder": "golden", "Accept": jsonata("$golden.accept"), "AssembleWith": "None"},
                instances=1,
            ),
            timeout_s=CHECK_S + STARTING_S,
            retries=JOB_RETRY,
            catches=_troubles(setting, CHECK, limit_s=CHECK_S, setting_name=""),
            assign={"answersKey": _completed(f"{_scores(setting)} & 'golden/{GOLDEN_REQUEST_FILE}.out'")},
            next_="ReadAnswers",
        ),
        "ReadAnswers": task(
            "aws-sdk:s3:getObject",
            arguments={"Bucket": setting.artifact_bucket, "Key": jsonata("$answersKey")},
            timeout_s=60,
            retries=S3_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            assign={"wrong": jsonata(wrong_answers("$states.result.Body", who="the model"))},
            next_="JudgeAnswers",
        ),
        "JudgeAnswers": choice(
            ("$wrong != ''", "RejectPackage", _refused("SmokeScore", "$wrong & '; nothing was scored'")),
            ("$hasRecords", "ScoreRecords"),
            default="CommitRelease",
            # Fixed here, for a transaction is repeated with the same items only.
            otherwise={"releasedAt": jsonata("$now()")},
        ),
        "ScoreRecords": task(
            "sagemaker:createTransformJob.sync",
            arguments=_transform(
                setting,
                kind=SCORE,
                source={"uri": place, "ContentType": "text/csv", "SplitType": "Line"},
                # Line by line, so that the scores of a file stand in its order.
                target={"folder": "records", "Accept": "text/csv", "AssembleWith": "Line"},
                instances=batch.instance_count,
            )
            | {
                "BatchStrategy": {"multi-record": "MultiRecord", "single-record": "SingleRecord"}[batch.strategy],
                "MaxPayloadInMB": batch.max_payload_mb,
                "MaxConcurrentTransforms": 1,
            },
            timeout_s=limit_s + STARTING_S,
            retries=JOB_RETRY,
            catches=_troubles(setting, SCORE, limit_s=limit_s, setting_name=" (batch.max_time)"),
            assign={
                "scoresUri": _completed(f"'s3://{setting.artifact_bucket}/' & {_scores(setting)} & 'records/'"),
                "releasedAt": jsonata("$now()"),
            },
            next_="CommitRelease",
        ),
        # No page says that a job ends with the task that followed it.
        "StopScoring": task(
            "aws-sdk:sagemaker:stopTransformJob",
            arguments={"TransformJobName": jsonata("$jobName")},
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[catch(next_="RejectPackage")],
            next_="RejectPackage",
        ),
        **commit_release(
            setting,
            item={"scores_uri": {"S": jsonata("$scoresUri")}},
            released=released,
            unsure={"failedState": jsonata("$states.context.State.Name"), "reason": CAUSE},
            refused="RejectPackage",
            refused_values={"outcome": "failed"},
            next_="FreeReleaseLock",
        ),
    }
    return Fragment(states=states, statements=_statements(setting))


def _scores(setting: Setting) -> str:
    """JSONata for the key below which a run's scores lie in the artifact bucket."""
    return f"{quote(f'{setting.project.name}/{SCORES}/')} & $runId & '/'"


def _transform(
    setting: Setting, *, kind: str, source: Mapping[str, str], target: Mapping[str, str], instances: int
) -> State:
    """The request for the job `<environment>-<project>-<kind>-...` over what begins with the source's URI."""
    batch, key = setting.project.batch, {"VolumeKmsKeyId": setting.key_arn}
    folder = f"'s3://{setting.artifact_bucket}/' & {_scores(setting)} & '{target['folder']}/'"
    return {
        "TransformJobName": unique_name(setting, kind),
        "ModelName": jsonata("$modelName"),
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source["uri"]}},
            "ContentType": source["ContentType"],
            "SplitType": source["SplitType"],
        },
        "TransformOutput": {
            "S3OutputPath": jsonata(folder),
            "Accept": target["Accept"],
            "AssembleWith": target["AssembleWith"],
            "KmsKeyId": setting.key_arn,
        },
        "TransformResources": {
            "InstanceType": batch.instance,
            "InstanceCount": instances,
            **(key if takes_volume_key(batch.instance) else {}),
        },
        "Tags": setting.tags(),
    }


def _completed(value: str) -> str:
    """JSONata for `value` that fails its state unless the job is Completed: nothing unfinished may pass."""
    stopped = "$error('the transform job was stopped before its end (' & $states.result.TransformJobStatus & ')')"
    return jsonata(f"$states.result.TransformJobStatus = 'Completed' ? {value} : {stopped}")


def _troubles(setting: Setting, kind: str, *, limit_s: int, setting_name: str) -> list[State]:
    """Catchers of a job's failures; SageMaker has no limit of run time for it, so that the task's stands for one."""
    late = (
        f"$states.context.State.Name & ': the transform job was stopped, for it took longer than {limit_s} s"
        f"{setting_name} and half an hour to start'"
    )
    return [
        catch(
            "States.Timeout",
            next_="StopScoring",
            assign={
                "jobName": unique_name(setting, kind),
                "outcome": "failed",
                "failedState": jsonata("$states.context.State.Name"),
                "reason": jsonata(late),
            },
        ),
        FAILED_AFTER_APPROVAL,
    ]


def _refused(state: str, reason: str) -> State:
    return {"outcome": "failed", "failedState": state, "reason": jsonata(f"'{state}: ' & {reason}")}


def _statements(setting: Setting) -> tuple[Statement, ...]:
    model = setting.arn("sagemaker", f"model/{setting.prefix}-{SCORE}-*")
    jobs = tuple(setting.arn("sagemaker", f"transform-job/{setting.prefix}-{kind}-*") for kind in (CHECK, SCORE))
    rule = setting.arn("events", "rule/StepFunctionsGetEventsForSageMakerTransformJobsRule")
    return (
        Statement(
            actions=("sagemaker:AddTags", "sagemaker:CreateModel", "sagemaker:DeleteModel"),
            resources=(model,),
            source=_SAGEMAKER_PAGE,
        ),
        setting.passes_model_role(),
        Statement(
            actions=(
                "sagemaker:AddTags",
                "sagemaker:CreateTransformJob",
                "sagemaker:DescribeTransformJob",
                "sagemaker:ListTags",
                "sagemaker:StopTransformJob",
            ),
            resources=jobs,
            source=_PAGE,
        ),
        Statement(
            actions=("events:DescribeRule", "events:PutRule", "events:PutTargets"), resources=(rule,), source=_PAGE
        ),
        Statement(
            actions=("kms:CreateGrant",),
            resources=(setting.key_arn,),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformResources.html",
        ),
        *setting.reads(setting.artifact_bucket, f"{setting.project.name}/{SCORES}/*"),
        Statement(
            actions=("s3:ListBucket",),
            resources=(setting.bucket_arn(setting.data_bucket),),
            source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html",
        ),
    )
