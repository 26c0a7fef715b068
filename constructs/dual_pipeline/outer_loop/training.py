"""Starts the inner loop with the champion to beat, waits for it, and lets only a model pass that it registered."""

from dual_pipeline.asl import (
    SAGEMAKER_ERRORS,
    Fragment,
    State,
    Statement,
    assign,
    catch,
    choice,
    jsonata,
    quote,
    retry,
    task,
)
from dual_pipeline.await_status import AwaitStatus
from dual_pipeline.loop_contract import (
    EVALUATION_FILE,
    EVALUATION_FOLDER,
    PARAMETER_APPROVAL_STATUS,
    PARAMETER_CHAMPION_URI,
    PARAMETER_QUALITY_VERDICT_URI,
    PARAMETER_RUN_ID,
    PARAMETER_SNAPSHOT_URI,
    PARAMETER_TRIGGER_DETAIL,
    PARAMETER_TRIGGER_REASON,
    REASON_ROLLBACK,
    STEP_EVALUATE,
    STEP_REFUSED,
)
from dual_pipeline.outer_loop.quality import S3_RETRY
from dual_pipeline.outer_loop.setting import CAUSE, FAILED, Setting, decoded, last_segment, read_item, seconds

SAGEMAKER_RETRY = [retry(SAGEMAKER_ERRORS, attempts=4)]

# The inside of a JSON string, for the model card; a parameter's value has at most 1,024 characters, and a cut must not
# leave half an escape at the end. JSONata itself trips over a backslash before a bracket, so it is \x5c here.
_DETAIL = (
    "($escaped := $string([$trigger.detail]); $cut := $substring($escaped, 2, $min([$length($escaped) - 4, 1000]));"
    r" $replace($cut, /(^|[^\x5c])((\x5c\x5c)*)\x5c(u[0-9a-f]{0,3})?$/, '$1$2'))"
)


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
    states: dict[str, State] = {
        "ReadChampion": read_champion(setting, variable="champion", next_="HasChampion"),
        "HasChampion": choice(("$champion.model != ''", "StartTraining"), default="ListApproved"),
        # No pointer while a model is approved is a lost pointer: taken for a first run, it would let any model pass.
        "ListApproved": task(
            "aws-sdk:sagemaker:listModelPackages",
            arguments={
                "ModelPackageGroupName": setting.prefix,
                "ModelApprovalStatus": "Approved",
                "MaxResults": 1,
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED],
            assign={"approved": jsonata("$states.result.ModelPackageSummaryList[0].ModelPackageArn & ''")},
            next_="IsFirstRun",
        ),
        "IsFirstRun": choice(
            ("$approved = ''", "StartTraining"),
            default="FreeLocks",
            otherwise={
                "outcome": "failed",
                "failedState": "ReadChampion",
                "reason": jsonata(
                    "'ReadChampion: the ledger names no champion although ' & $approved & ' is Approved: reject that'"
                    " & ' package if it does not serve, or restore the champion in the ledger, see the runbook'"
                ),
            },
        ),
        "StartTraining": task(
            "aws-sdk:sagemaker:startPipelineExecution",
            arguments={
                "PipelineName": setting.prefix,
                "ClientRequestToken": jsonata("$hash($me, 'SHA-256')"),
                "PipelineExecutionDisplayName": jsonata("'run-' & $id"),
                "PipelineExecutionDescription": jsonata("$runId"),
                "PipelineParameters": jsonata(_parameters(status)),
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[FAILED],
            assign={"pipelineExecutionArn": jsonata("$states.result.PipelineExecutionArn")},
            next_="AwaitTraining",
        ),
        **wait.fragment().states,
        "StopTraining": stop_pipeline_execution("$pipelineExecutionArn", catches=[FAILED], next_="TrainingTooLong"),
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
                "refused": jsonata(
                    f"{quote(STEP_REFUSED)} in $states.result.PipelineExecutionSteps[StepStatus = 'Failed'].StepName"
                ),
                "folder": jsonata(_folder(setting)),
            },
            next_="CheckTraining",
        ),
        "CheckTraining": choice(
            ("$execution.status = 'Succeeded' or $refused", "ReadEvaluation"),
            default="IsRegistered",
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
                "Key": jsonata(f"$folder & '{EVALUATION_FILE}'"),
            },
            timeout_s=60,
            retries=S3_RETRY,
            catches=[
                catch(
                    next_="IsRegistered",
                    assign={"outcome": "failed", "failedState": "ReadEvaluation", "reason": CAUSE},
                )
            ],
            assign={
                "evaluation": jsonata(
                    f"($e := {decoded('$states.result.Body')}; {{"
                    # Curves and matrices stay in the file: a state's variables are small.
                    "'metrics': ($m := $e.binary_classification_metrics;"
                    " $m := $type($m) = 'object' ? $sift($m, function($v) { $type($v.value) = 'number' });"
                    " $exists($m) ? $m : {}),"
                    " 'champion': ($c := $e.champion; $type($c) = 'object' ? {"
                    "'metrics': $type($c.metrics) = 'object' ? $c.metrics : {}, 'interval': [$c.interval],"
                    " 'sentence': $type($c.sentence) = 'string' ? $substring($c.sentence, 0, 500) : ''} : {}),"
                    " 'passed': $e.gate.passed = true,"
                    " 'reasons': $substring($join([[$e.gate.reasons].$string()], '; '), 0, 1500),"
                    " 'folder': $folder"
                    "})"
                )
            },
            next_="GateModel",
        ),
        "GateModel": choice(
            # A rollback's model passed its gate long ago.
            *(
                [(f"$trigger.reason = {quote(REASON_ROLLBACK)}", "TakeReleaseLock", {"mayHoldRelease": True})]
                if setting.project.deploys_endpoint
                else []
            ),
            # The outcome is still open: freeing the training lock comes back to the approval.
            ("$packageArn != ''", "FreeTrainingLock", {"judged": True}),
            (
                "$evaluation.passed",
                "FreeLocks",
                {
                    "outcome": "failed",
                    "failedState": "GateModel",
                    "reason": "GateModel: the evaluation passed its gate but no step registered a model",
                },
            ),
            default="FreeTrainingLock",
            otherwise={
                "judged": True,
                "outcome": "below-gate",
                "reason": jsonata(
                    "'the model is below its gate: '"
                    " & ($evaluation.reasons != '' ? $evaluation.reasons : 'the evaluation gives no reason')"
                ),
            },
        ),
        # What failed after its registration must not stay approved.
        "IsRegistered": choice(("$packageArn != ''", "RejectPackage"), default="FreeLocks"),
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
            Statement(
                actions=("sagemaker:ListModelPackages",),
                resources=("*",),
                reason="AWS documents no resource type for it",
                source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html",
            ),
            *setting.reads(setting.artifact_bucket, f"{setting.project.name}/executions/*"),
        ),
    )


def stop_pipeline_execution(arn: str, *, catches: list[State], next_: str) -> State:
    """Stop the execution that the JSONata `arn` names; a repeated call is the same one."""
    return task(
        "aws-sdk:sagemaker:stopPipelineExecution",
        arguments={
            "PipelineExecutionArn": jsonata(arn),
            "ClientRequestToken": jsonata("$hash($me, 'SHA-256')"),
        },
        timeout_s=60,
        retries=SAGEMAKER_RETRY,
        catches=catches,
        next_=next_,
    )


def read_champion(setting: Setting, *, variable: str, next_: str, failed: State = FAILED) -> State:
    """Read which model serves: package, run, the model's file and its configuration; nothing before the first one."""
    return read_item(
        setting.table_name,
        setting.champion_key,
        catches=[failed],
        assign={
            variable: jsonata(
                "{'package': $states.result.Item.model_package_arn.S & '', 'run': $states.result.Item.run_id.S & '',"
                " 'model': $states.result.Item.model_uri.S & '', 'config': $states.result.Item.endpoint_config.S & ''}"
            )
        },
        next_=next_,
    )


def _parameters(status: str) -> str:
    given = {
        PARAMETER_SNAPSHOT_URI: "$snapshotUri",
        PARAMETER_RUN_ID: "$runId",
        PARAMETER_TRIGGER_REASON: "$trigger.reason",
        PARAMETER_TRIGGER_DETAIL: _DETAIL,
        PARAMETER_APPROVAL_STATUS: quote(status),
        PARAMETER_QUALITY_VERDICT_URI: "$verdict.uri",
    }
    listed = ", ".join(f"{{'Name': '{name}', 'Value': {value}}}" for name, value in given.items())
    champion = f"{{'Name': '{PARAMETER_CHAMPION_URI}', 'Value': $champion.model}}"
    # A first run leaves the default, which says that there is no champion.
    return f"[{listed}, $champion.model != '' ? {champion} : []]"


def _folder(setting: Setting) -> str:
    """JSONata for where the evaluation lies: below the execution that really ran it.

    Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CacheHitResult.html
    """
    source = "$states.result.PipelineExecutionSteps[StepName = " + quote(STEP_EVALUATE) + "].CacheHitResult"
    return (
        f"($source := {source}.SourcePipelineExecutionArn;"
        f" $arn := $exists($source) ? $source : $pipelineExecutionArn;"
        f" '{setting.project.name}/executions/' & {last_segment('$arn')} & '/{EVALUATION_FOLDER}/')"
    )
