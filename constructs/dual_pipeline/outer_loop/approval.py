"""Waits for people, or for the policy, to approve the model, and refuses an answer that comes too late."""

from dual_pipeline.asl import SAGEMAKER_ERRORS, Fragment, State, Statement, assign, choice, jsonata, quote, task
from dual_pipeline.await_status import AwaitStatus
from dual_pipeline.loop_contract import EVALUATION_FILE
from dual_pipeline.outer_loop.finish import publish
from dual_pipeline.outer_loop.setting import FAILED_AFTER_APPROVAL, Setting, seconds
from dual_pipeline.outer_loop.training import SAGEMAKER_RETRY


def approval(setting: Setting) -> Fragment:
    """A package that the policy approved at registration passes without waiting."""
    deadline_s = seconds(setting.project.approval.deadline)
    wait = AwaitStatus(
        name="AwaitApproval",
        integration="aws-sdk:sagemaker:describeModelPackage",
        arguments={"ModelPackageName": jsonata("$packageArn")},
        errors=SAGEMAKER_ERRORS,
        key="$states.result.ModelPackageArn",
        done="$states.result.ModelApprovalStatus in ['Approved', 'Rejected']",
        observe="{'status': $states.result.ModelApprovalStatus, 'words': $states.result.ApprovalDescription & '',"
        " 'by': ($u := $states.result.LastModifiedBy; $exists($u.UserProfileName) ? $u.UserProfileName"
        " : $exists($u.IamIdentity.Arn) ? $u.IamIdentity.Arn : ''),"
        " 'at': $states.result.LastModifiedTime & '',"
        " 'model': $states.result.InferenceSpecification.Containers[0].ModelDataUrl & '',"
        " 'definition': $states.result.CustomerMetadataProperties.definition_hash & ''}",
        observed="approval",
        deadline_s=deadline_s,
        slice_s=setting.slice_s,
        table_name=setting.table_name,
        next_="JudgeApproval",
        on_deadline="ApprovalExpired",
        catches=[FAILED_AFTER_APPROVAL],
    )
    states: dict[str, State] = {
        **({"AskForApproval": _ask(setting, deadline_s)} if setting.approval_state == "AskForApproval" else {}),
        **wait.fragment().states,
        "ApprovalExpired": assign(
            {
                "outcome": "expired",
                "reason": f"expired: nobody approved or rejected the model within {_words(deadline_s)}",
            },
            next_="RejectPackage",
        ),
        "JudgeApproval": choice(
            ("$approval.status = 'Approved'", "TakeReleaseLock", {"mayHoldRelease": True}),
            default="FreeLocks",
            otherwise={
                "outcome": "rejected",
                "reason": jsonata(
                    "'the model was rejected' & ($approval.by != '' ? ' by ' & $approval.by : '')"
                    " & ': ' & ($approval.words != '' ? $approval.words : 'no reason given')"
                ),
            },
        ),
        # Outcome and reason are set by whoever comes here; the package must not stay approved, or wait for ever.
        "RejectPackage": task(
            "aws-sdk:sagemaker:updateModelPackage",
            arguments={
                "ModelPackageArn": jsonata("$packageArn"),
                "ModelApprovalStatus": "Rejected",
                "ApprovalDescription": jsonata("$substring($replace($reason, /\\s+/, ' '), 0, 1024)"),
            },
            timeout_s=60,
            retries=SAGEMAKER_RETRY,
            catches=[
                {
                    "ErrorEquals": ["States.ALL"],
                    "Assign": {
                        "trouble": jsonata("'the model package could not be rejected: ' & $states.errorOutput.Error")
                    },
                    "Next": "FreeLocks",
                }
            ],
            next_="FreeLocks",
        ),
    }
    group = setting.arn("sagemaker", f"model-package/{setting.prefix}/*")
    return Fragment(
        states=states,
        statements=(
            Statement(
                actions=("sagemaker:DescribeModelPackage", "sagemaker:UpdateModelPackage"),
                resources=(group,),
                source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html",
            ),
        ),
    )


def _ask(setting: Setting, deadline_s: int) -> State:
    name = f"{setting.project.name} in {setting.environment.name}"
    return publish(
        setting.topic_arn,
        subject=quote(f"{name}: a model waits for approval"),
        message=(
            f"'The model ' & $packageArn & ' of run ' & $runId & ' waits for approval in {name}. On the holdout: '"
            " & $join($each($evaluation.metrics, function($m, $name) { $name & ' ' & $string($m.value) }), ', ')"
            f" & '. Report: s3://{setting.artifact_bucket}/' & $evaluation.folder & '{EVALUATION_FILE}'"
            f" & '. Within {_words(deadline_s)}, in SageMaker Studio or by: aws sagemaker update-model-package"
            " --model-package-arn ' & $packageArn"
            " & ' --model-approval-status Approved (or Rejected) --approval-description WHY'"
        ),
        output={},
        next_="AwaitApproval",
    )


def _words(deadline_s: int) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if deadline_s % length == 0:
            return f"{deadline_s // length} {unit}"
    return f"{deadline_s} seconds"
