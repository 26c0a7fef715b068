"""Waits for people, or for the policy, to approve the model, records who decided, and refuses what comes too late."""

from dual_pipeline.approver import person_of
from dual_pipeline.asl import (
    CONDITION_FAILED,
    SAGEMAKER_ERRORS,
    Fragment,
    State,
    Statement,
    assign,
    catch,
    choice,
    jsonata,
    quote,
    task,
)
from dual_pipeline.await_status import INITIAL, AwaitStatus
from dual_pipeline.loop_contract import REASON_ROLLBACK
from dual_pipeline.outer_loop.finish import publish
from dual_pipeline.outer_loop.messages import Teller, words
from dual_pipeline.outer_loop.setting import FAILED_AFTER_APPROVAL, LEDGER, Setting, seconds
from dual_pipeline.outer_loop.training import SAGEMAKER_RETRY

# The package's words are one line of at most 1,024 characters.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateModelPackage.html
_ONE_LINE = r"$substring($replace({text}, /\s+/, ' '), 0, 1024)"
_OBSERVE = f"""(
  $p := $states.result;
  $u := $p.LastModifiedBy;
  {{
    'status': $p.ModelApprovalStatus,
    'words': $p.ApprovalDescription & '',
    'by': $exists($u.UserProfileName) ? $u.UserProfileName : $exists($u.IamIdentity.Arn) ? $u.IamIdentity.Arn : '',
    'person': {person_of("$u")},
    'at': $p.LastModifiedTime & '',
    'version': $exists($p.ModelPackageVersion) ? $p.ModelPackageVersion : 0,
    'created': $exists($p.CreationTime) ? $toMillis($p.CreationTime) : 0,
    'model': $p.InferenceSpecification.Containers[0].ModelDataUrl & '',
    'definition': $p.CustomerMetadataProperties.definition_hash & ''
  }}
)"""
# A model that served once and to which no endpoint could be brought back stays approved, and remembers it.
_REFUSED = (
    f"$merge([{{'ModelPackageArn': $packageArn}}, $trigger.reason = {quote(REASON_ROLLBACK)}"
    " ? {'CustomerMetadataProperties': {'rollback_refused': $runId}}"
    f" : {{'ModelApprovalStatus': 'Rejected', 'ApprovalDescription': {_ONE_LINE.replace('{text}', '$reason')}}}])"
)
# Whoever approves without looking, such as a script, must not keep a run and its messages going until the deadline.
_MOST_ROUNDS = 10
_NOBODY = "SageMaker does not say who approved, so it cannot count: two different people have to approve"
_ONE_SO_FAR = (
    "($approvers.first & ' has approved; a second person, other than that one, has to: half of the time is over.')"
)


def approval(setting: Setting) -> Fragment:
    """A package that the policy approved at registration passes without waiting; people are reminded at half time."""
    policy = setting.project.approval
    deadline_s = seconds(policy.deadline)
    asks = policy.mode != "auto"
    two = policy.mode == "two"
    wait = AwaitStatus(
        name="AwaitApproval",
        integration="aws-sdk:sagemaker:describeModelPackage",
        arguments={"ModelPackageName": jsonata("$packageArn")},
        errors=SAGEMAKER_ERRORS,
        key="$states.result.ModelPackageArn",
        done="$states.result.ModelApprovalStatus in ['Approved', 'Rejected']",
        observe=_OBSERVE,
        observed="approval",
        # The clock is wound twice: once until the reminder, once from there to the end.
        deadline_s=-(-deadline_s // 2) if asks else deadline_s,
        slice_s=max(setting.slice_s, -(-deadline_s // 100)),
        table_name=setting.table_name,
        ends=_ends(two=two),
        next_="RecordRejection",
        on_deadline="IsReminded" if asks else "ApprovalExpired",
        catches=[FAILED_AFTER_APPROVAL],
    )
    states: dict[str, State] = {
        **(_asking(setting, deadline_s, two=two) if asks else {}),
        **wait.fragment().states,
        **(_second_approver(setting) if two else {}),
        "ApprovalExpired": assign(
            {
                "outcome": "expired",
                "reason": f"expired: nobody approved or rejected the model within {words(deadline_s)}",
            },
            next_="RejectPackage",
        ),
        "RecordApproval": _record(setting, unwritten=FAILED_AFTER_APPROVAL, next_="TakeReleaseLock"),
        "RecordRejection": _record(
            setting,
            unwritten=catch(
                next_="FreeLocks",
                assign={**_rejected(), "trouble": "the decision is not in the ledger"},
            ),
            next_="FreeLocks",
            values=_rejected(),
        ),
        # Outcome and reason are set by whoever comes here; the package must not stay approved, or wait for ever.
        "RejectPackage": _update(
            jsonata(_REFUSED),
            catches=[
                catch(
                    next_="FreeLocks",
                    assign={
                        "trouble": jsonata("'the model package could not be rejected: ' & $states.errorOutput.Error")
                    },
                )
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


def read_approval(
    *, variable: str, next_: str, values: State | None = None, failed: State = FAILED_AFTER_APPROVAL
) -> State:
    """Read what the package says now; `approval`'s statements allow it."""
    return task(
        "aws-sdk:sagemaker:describeModelPackage",
        arguments={"ModelPackageName": jsonata("$packageArn")},
        timeout_s=60,
        retries=SAGEMAKER_RETRY,
        catches=[failed],
        assign={variable: jsonata(_OBSERVE), **(values or {})},
        next_=next_,
    )


def _ends(*, two: bool) -> tuple[tuple[str, str, State], ...]:
    """Where an approval leads; a rejection by anybody is one."""
    approved = "$approval.status = 'Approved'"
    if not two:
        return ((approved, "RecordApproval", {"mayHoldRelease": True}),)
    return (
        (f"{approved} and $approval.person = ''", "LookAgain", {"missing": _NOBODY}),
        (approved, "CountApprover", {}),
    )


def _item(kind: str) -> str:
    # A group that was destroyed and made anew gives the same ARNs again; a run never comes again.
    return jsonata(f"'{kind}#' & $packageArn & '#' & $runId")


def _rejected() -> State:
    return {
        "outcome": "rejected",
        "reason": jsonata(
            "'the model was rejected' & ($approval.by != '' ? ' by ' & $approval.by : '')"
            " & ': ' & ($approval.words != '' ? $approval.words : 'no reason given')"
        ),
    }


def _asking(setting: Setting, deadline_s: int, *, two: bool) -> dict[str, State]:
    """Ask, and ask again at half time; whoever asks must not keep the wait from going on."""
    who = "two different people" if two else "somebody"
    once_more = {"reminded": True, **INITIAL}
    nobody = (
        "('Nobody has decided yet: half of the time is over.'"
        " & ($approval.words != '' ? ' The registry says: ' & $approval.words : ''))"
    )
    return {
        "AskForApproval": _request(
            setting,
            "a model waits for approval",
            opening=quote(f"A model waits until {who} approve{'' if two else 's'} it."),
            within=words(deadline_s),
            values={"approvers": {"first": "", "last": ""}, "rounds": 0} if two else None,
        ),
        "IsReminded": choice(("$reminded", "ApprovalExpired"), default="Remind"),
        "Remind": _request(
            setting,
            "a model still waits for approval",
            opening=f"($approvers.first != '' ? {_ONE_SO_FAR} : {nobody})" if two else nobody,
            within=words(-(-deadline_s // 2)),
            values=once_more,
        ),
    }


def _second_approver(setting: Setting) -> dict[str, State]:
    """Two approvals count if two people gave them; after the first the package is set back, and the wait goes on.

    The first person's name stays; the last one's is compared with it. So the same person counts once, however often
    they approve, and a repeated write changes nothing.
    """
    me: State = {"S": jsonata("$approval.person")}
    return {
        "CountApprover": task(
            "aws-sdk:dynamodb:updateItem",
            arguments={
                "TableName": setting.table_name,
                "Key": setting.item_key(_item("APPROVAL")),
                "UpdateExpression": "SET first_by = if_not_exists(first_by, :who), last_by = :who,"
                " first_at = if_not_exists(first_at, :at), last_at = :at,"
                " first_why = if_not_exists(first_why, :why), last_why = :why",
                "ExpressionAttributeValues": {
                    ":who": me,
                    ":at": {"S": jsonata("$approval.at")},
                    ":why": {"S": jsonata("$approval.words")},
                },
                "ReturnValues": "ALL_NEW",
            },
            timeout_s=60,
            retries=LEDGER,
            catches=[FAILED_AFTER_APPROVAL],
            assign={
                "approvers": jsonata(
                    "($a := $states.result.Attributes; {'first': $a.first_by.S, 'last': $a.last_by.S,"
                    " 'words': $a.first_why.S & '; ' & $a.last_why.S})"
                )
            },
            next_="IsSecondApprover",
        ),
        "IsSecondApprover": choice(
            (
                "$approvers.first != $approvers.last",
                "RecordApproval",
                {
                    "mayHoldRelease": True,
                    "approval": jsonata(
                        "$merge([$approval, {'by': $approvers.first & ' and ' & $approvers.last,"
                        " 'person': $approvers.first & ' and ' & $approvers.last, 'words': $approvers.words}])"
                    ),
                },
            ),
            default="LookAgain",
            otherwise={
                "missing": jsonata(
                    "'approved by ' & $approvers.first & '; a second person, other than that one, has to approve'"
                )
            },
        ),
        # Setting the package back erases what it says, and somebody may have answered since the wait.
        "LookAgain": read_approval(variable="approval", values={"rounds": jsonata("$rounds + 1")}, next_="MayAskAgain"),
        "MayAskAgain": choice(
            ("$approval.status = 'Rejected'", "RecordRejection"),
            (
                f"$rounds > {_MOST_ROUNDS}",
                "RejectPackage",
                {
                    "outcome": "rejected",
                    "reason": jsonata(
                        f"'the model was approved and set back {_MOST_ROUNDS} times, never by two different people: see"
                        " who approves without looking, a script perhaps; the last time: ' & $missing"
                    ),
                },
            ),
            (
                "$approval.status = 'Approved' and $not($approval.person in ['', $approvers.last])",
                "CountApprover",
            ),
            default="AskForAnother",
        ),
        "AskForAnother": _update(
            _status("PendingManualApproval", "$missing"), catches=[FAILED_AFTER_APPROVAL], next_="TellWhoIsMissing"
        ),
        "TellWhoIsMissing": _request(
            setting, "a model needs a second approval", opening="'The model is not released yet: ' & $missing & '.'"
        ),
    }


def _request(setting: Setting, what: str, *, opening: str, within: str = "", values: State | None = None) -> State:
    teller = Teller(environment=setting.environment.name, project=quote(setting.project.name))
    return publish(
        setting.topic_arn,
        subject=teller.request_subject(what),
        message=teller.request(
            opening=opening,
            ending=quote(f"Decide within {within}, or it is rejected:" if within else "Decide by:"),
            bucket=setting.artifact_bucket,
        ),
        output={},
        next_="AwaitApproval",
        values=values,
    )


def _status(status: str, text: str) -> State:
    return {
        "ModelPackageArn": jsonata("$packageArn"),
        "ModelApprovalStatus": status,
        "ApprovalDescription": jsonata(_ONE_LINE.replace("{text}", text)),
    }


def _update(arguments: State | str, *, catches: list[State], next_: str) -> State:
    return task(
        "aws-sdk:sagemaker:updateModelPackage",
        arguments=arguments,
        timeout_s=60,
        retries=SAGEMAKER_RETRY,
        catches=catches,
        next_=next_,
    )


def _record(setting: Setting, *, unwritten: State, next_: str, values: State | None = None) -> State:
    """Write down who decided, when, why and on what numbers, once for ever; `unwritten` catches what hinders it."""
    again = catch(CONDITION_FAILED, next_=next_, assign=values)
    mode = setting.project.approval.mode
    unknown = "the policy" if mode == "auto" else "somebody whom SageMaker does not name"
    return task(
        "aws-sdk:dynamodb:putItem",
        arguments={
            "TableName": setting.table_name,
            "Item": {
                **setting.item_key(_item("DECISION")),
                "decision": {"S": jsonata("$approval.status")},
                "decided_by": {"S": jsonata(f"$approval.by != '' ? $approval.by : {quote(unknown)}")},
                "person": {"S": jsonata("$approval.person")},
                "decided_at": {"S": jsonata("$approval.at")},
                "why": {"S": jsonata("$approval.words")},
                "policy": {"S": mode},
                "run_id": {"S": jsonata("$runId")},
                "metrics": {"S": jsonata("$string($evaluation.metrics)")},
                "champion": {"S": jsonata("$champion.package & ''")},
                "comparison": {"S": jsonata("$string($evaluation.champion)")},
            },
            "ConditionExpression": "attribute_not_exists(pk)",
        },
        timeout_s=60,
        retries=LEDGER,
        catches=[again, unwritten],
        assign=values,
        next_=next_,
    )
