"""Makes a released model the champion: the one write by which pointer, baseline and lineage move."""

from dual_pipeline.asl import DYNAMODB_ERRORS, State, catch, choice, jsonata, retry, task
from dual_pipeline.outer_loop.setting import Setting, read_item

# What may be the champion is neither sent back nor rejected.
_UNKNOWN = catch(
    next_="FreeLocks",
    assign={
        "outcome": "failed",
        "failedState": "CommitRelease",
        "orphan": False,
        "reason": jsonata(
            "'CommitRelease: whether the release stands could not be read (' & $states.errorOutput.Error"
            " & '): compare the endpoint with the ledger; it needs a person, see the runbook'"
        ),
    },
)


def commit_release(
    setting: Setting,
    *,
    item: State,
    released: State,
    unsure: State,
    refused: str,
    refused_values: State | None = None,
    next_: str,
) -> dict[str, State]:
    """Write the champion with `item` beside what every champion has, if the run still owns the release lock.

    `released` is set where it is written. Where no answer came `unsure` is set, and the pointer itself is read; where
    it was not written `refused` follows. A run that lost its lock meanwhile touches nothing any more.
    """
    return {
        "CommitRelease": task(
            "aws-sdk:dynamodb:transactWriteItems",
            arguments={
                "ClientRequestToken": jsonata("$substring($hash($me, 'SHA-256'), 0, 36)"),
                "TransactItems": [
                    {
                        "ConditionCheck": {
                            "TableName": setting.table_name,
                            "Key": setting.release_lock,
                            "ConditionExpression": "#owner = :me",
                            "ExpressionAttributeNames": {"#owner": "owner"},
                            "ExpressionAttributeValues": {":me": {"S": jsonata("$me")}},
                        }
                    },
                    {"Put": {"TableName": setting.table_name, "Item": {**_champion(setting), **item}}},
                ],
            },
            timeout_s=60,
            # A cancelled transaction hides whether it was a conflict; the token makes a repetition the same one.
            retries=[
                retry((*DYNAMODB_ERRORS, "DynamoDb.TransactionInProgressException")),
                retry(("DynamoDb.TransactionCanceledException",), attempts=2),
            ],
            catches=[catch(next_="ReadBack", assign=unsure)],
            assign=released,
            next_=next_,
        ),
        # An answer may be lost after the write; the pointer itself tells.
        "ReadBack": read_item(
            setting.table_name,
            setting.champion_key,
            catches=[_UNKNOWN],
            assign={"committedRun": jsonata("$states.result.Item.run_id.S & ''")},
            next_="IsCommitted",
        ),
        "IsCommitted": choice(("$committedRun = $runId", next_, released), default="ReadReleaseLock"),
        "ReadReleaseLock": read_item(
            setting.table_name,
            setting.release_lock,
            catches=[_UNKNOWN],
            assign={"holder": jsonata("$states.result.Item.owner.S & ''")},
            next_="IsLockOurs",
        ),
        "IsLockOurs": choice(
            ("$holder = $me", refused, refused_values or {}),
            default="RejectPackage",
            otherwise={
                "outcome": "failed",
                "failedState": "CommitRelease",
                "reason": jsonata(
                    "'CommitRelease: the release lock belongs to ' & ($holder = '' ? 'nobody' : $holder)"
                    " & ' by now, so nothing more was touched; what serves needs a person, see the runbook'"
                ),
            },
        ),
    }


def _champion(setting: Setting) -> State:
    return {
        **setting.champion_key,
        "model_package_arn": {"S": jsonata("$packageArn")},
        "model_uri": {"S": jsonata("$approval.model")},
        "snapshot_uri": {"S": jsonata("$snapshotUri")},
        "pipeline_execution_arn": {"S": jsonata("$pipelineExecutionArn")},
        "definition_hash": {"S": jsonata("$approval.definition")},
        "model_name": {"S": jsonata("$modelName")},
        "run_id": {"S": jsonata("$runId")},
        "evaluation_uri": {"S": jsonata(f"'s3://{setting.artifact_bucket}/' & $evaluation.folder & 'evaluation.json'")},
        "released_at": {"S": jsonata("$releasedAt")},
    }
