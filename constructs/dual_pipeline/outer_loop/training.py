"""Starts the inner loop, waits for it, and lets only a model pass that it registered."""

from dual_pipeline.asl import SAGEMAKER_ERRORS, Fragment, State, Statement, assign, choice, jsonata, retry, task
from dual_pipeline.await_status import AwaitStatus
from dual_pipeline.loop_contract import (
    EVALUATION_FILE,
    EVALUATION_FOLDER,
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_REASON,
)
from dual_pipeline.outer_loop.ingest import S3_RETRY
from dual_pipeline.outer_loop.setting import FAILED, Setting, decoded, last_segment, seconds

SAGEMAKER_RETRY = [retry(SAGEMAKER_ERRORS, attempts=4)]


def training(setting: Setting) -> Fragment:
    """The execution is known by a token made of the run, so a repeated start finds it again."""
    status = "Approved" if setting.project.approval.mode == "auto" else "PendingManualApproval"
    limit_s = seconds(setting.project.limits.training)
    wait = AwaitStatus(
        name="AwaitTraining",
        integration="aws-sdk:sagemaker:describePipelineExecution",
        arguments={"PipelineExecutionArn": jsonata("$pipelineExecutionArn")},
        errors=SAGEMAKER_ERRORS,
        key="$states.result.PipelineExecutionArn",
        done="$states.result.PipelineExecutionStatus in ['Succeeded', 'Failed', 'Stopped']",
        observe="{'status': $states.result.PipelineExecutionStatus, 'reason': $states.result.FailureReason & '',"
        " 'version': $states.result.PipelineVersionId & ''}",
        observed="execution",
        deadline_s=limit_s,
        slice_s=setting.slice_s,
        table_name=setting.table_name,
        next_="ListSteps",
        on_deadline="StopTraining",
        catches=[FAILED],
    )
    folder = f"'{setting.project.name}/executions/' & {last_segment('$pipelineExecutionArn')} & '/{EVALUATION_FOLDER}/'"
    states: dict[str, State] = {
        "StartTraining": task(
            "aws-sdk:sagemaker:startPipelineExecution",
            arguments={
                "PipelineName": setting.prefix,
                "ClientRequestToken": jsonata("$hash($me, 'SHA-256')"),
                "PipelineExecutionDisplayName": jsonata("'run-' & $id"),
                "PipelineExecutionDescription": jsonata("$runId"),
                "PipelineParameters": [
                    {"Name": PARAMETER_SNAPSHOT_URI, "Value": jsonata("$snapshotUri")},
                    {"Name": PARAMETER_RUN_ID, "Value": jsonata("$runId")},
                    {"Name": PARAMETER_TRIGGER_REASON, "Value": jsonata("$trigger.reason")},
                    {"Name": PARAMETER_APPROVAL_STATUS, "Value": status},
                ],
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED],
            assign={"pipelineExecutionArn": jsonata("$states.result.PipelineExecutionArn")},
            next_="AwaitTraining",
        ),
        **wait.fragment().states,
        "StopTraining": task(
            "aws-sdk:sagemaker:stopPipelineExecution",
            arguments={
                "PipelineExecutionArn": jsonata("$pipelineExecutionArn"),
                "ClientRequestToken": jsonata("$hash($me, 'SHA-256')"),
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED],
            next_="TrainingTooLong",
        ),
        "TrainingTooLong": assign(
            {
                "outcome": "failed",
                "failedState": "AwaitTraining",
                "reason": f"AwaitTraining: the pipeline execution was stopped, for it took longer than {limit_s} s"
                " (limits.training)",
            },
            next_="FreeLocks",
        ),
        # The definition has far fewer than the 100 steps of one page.
        "ListSteps": task(
            "aws-sdk:sagemaker:listPipelineExecutionSteps",
            arguments={"PipelineExecutionArn": jsonata("$pipelineExecutionArn"), "MaxResults": 100},
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED],
            assign={
                "packageArn": jsonata(
                    "($p := [$states.result.PipelineExecutionSteps.Metadata.RegisterModel.Arn];"
                    " $count($p) > 0 ? $p[0] : '')"
                ),
                "failedSteps": jsonata(
                    "$join([$states.result.PipelineExecutionSteps[StepStatus = 'Failed']"
                    ".('step ' & StepName & ': ' & $substring(FailureReason, 0, 1500))], '; ')"
                ),
            },
            next_="CheckTraining",
        ),
        "CheckTraining": choice(
            ("$execution.status = 'Succeeded'", "ReadEvaluation"),
            default="FreeLocks",
            otherwise={
                "outcome": "failed",
                "failedState": "AwaitTraining",
                "reason": jsonata(
                    "'AwaitTraining: the pipeline execution ' & $lowercase($execution.status)"
                    " & ($failedSteps != '' ? '; ' & $failedSteps"
                    " : $execution.reason != '' ? ': ' & $execution.reason : '')"
                ),
            },
        ),
        "ReadEvaluation": task(
            "aws-sdk:s3:getObject",
            arguments={
                "Bucket": setting.artifact_bucket,
                "Key": jsonata(f"{folder} & '{EVALUATION_FILE}'"),
            },
            timeout_s=60,
            retries=S3_RETRY,
            catches=[FAILED],
            assign={
                "evaluation": jsonata(
                    f"($e := {decoded('$states.result.Body')}; {{"
                    "'metrics': ($m := $e.binary_classification_metrics; $type($m) = 'object' ? $m : {}),"
                    " 'passed': $e.gate.passed = true,"
                    " 'reasons': $substring($join([[$e.gate.reasons].$string()], '; '), 0, 1500),"
                    f" 'folder': {folder}"
                    "})"
                )
            },
            next_="GateModel",
        ),
        "GateModel": choice(
            # The outcome is still open: freeing the training lock comes back to the approval.
            ("$packageArn != ''", "FreeLocks"),
            (
                "$evaluation.passed",
                "FreeLocks",
                {
                    "outcome": "failed",
                    "failedState": "GateModel",
                    "reason": "GateModel: the evaluation passed its gate but no step registered a model",
                },
            ),
            default="FreeLocks",
            otherwise={
                "outcome": "below-gate",
                "reason": jsonata(
                    "'the model is below its gate: '"
                    " & ($evaluation.reasons != '' ? $evaluation.reasons : 'the evaluation gives no reason')"
                ),
            },
        ),
    }
    pipeline = setting.arn("sagemaker", f"pipeline/{setting.prefix}")
    return Fragment(
        states=states,
        statements=(
            Statement(
                actions=("sagemaker:StartPipelineExecution",),
                resources=(pipeline,),
                source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StartPipelineExecution.html",
            ),
            Statement(
                actions=(
                    "sagemaker:DescribePipelineExecution",
                    "sagemaker:ListPipelineExecutionSteps",
                    "sagemaker:StopPipelineExecution",
                ),
                resources=(f"{pipeline}/execution/*",),
                source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html",
            ),
            *setting.reads(setting.artifact_bucket, f"{setting.project.name}/executions/*"),
        ),
    )
