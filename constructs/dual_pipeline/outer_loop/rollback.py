"""A run that trains nothing: a person brings an endpoint back to an earlier version, by the same guarded release."""

from dual_pipeline.asl import Fragment, State, choice, jsonata, quote
from dual_pipeline.loop_contract import EVALUATION_FILE
from dual_pipeline.outer_loop.approval import read_approval
from dual_pipeline.outer_loop.setting import FAILED, Setting


def rollback(setting: Setting) -> Fragment:
    """Read of an approved package what its own run knew: where its evaluation lies, with its baseline and golden rows.

    The training lock and the daily cap are for training; the release lock and the preflight are the same.
    """
    place = quote(f"s3://{setting.artifact_bucket}/")
    found = "$states.result"
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelQuality.html
    evaluation = f"{found}.ModelMetrics.ModelQuality.Statistics.S3Uri & ''"
    states: dict[str, State] = {
        "ReadPackage": read_approval(
            variable="approval",
            failed=FAILED,
            values={
                "snapshotUri": jsonata(f"{found}.CustomerMetadataProperties.snapshot_uri & ''"),
                "pipelineExecutionArn": jsonata(
                    f"($id := {found}.CustomerMetadataProperties.execution_id;"
                    f" $exists($id) ? {quote(setting.arn('sagemaker', f'pipeline/{setting.prefix}/execution/'))} & $id"
                    " : '')"
                ),
                "folder": jsonata(
                    f"$substringBefore($substringAfter({evaluation}, {place}), {quote(EVALUATION_FILE)})"
                ),
            },
            next_="MayRollBack",
        ),
        "MayRollBack": choice(
            ("$approval.status = 'Approved'", "ReadEvaluation"),
            default="FreeLocks",
            otherwise={
                "outcome": "failed",
                "failedState": "MayRollBack",
                "reason": jsonata(
                    "'MayRollBack: ' & $packageArn & ' is ' & $approval.status"
                    " & ', and only an approved version may serve: choose another'"
                ),
            },
        ),
    }
    return Fragment(states=states)
