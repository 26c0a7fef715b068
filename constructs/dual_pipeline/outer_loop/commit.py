"""Makes a released model the champion: the one write by which pointer, baseline and lineage move."""

from dual_pipeline.asl import DYNAMODB_ERRORS, State, catch, choice, jsonata, retry, task
from dual_pipeline.outer_loop.setting import LEDGER, Setting


def commit_release(
    setting: Setting,
    *,
    item: State,
    released: State,
    unsure: State,
    failed: State,
    refused: str,
    refused_values: State | None = None,
    next_: str,
) -> dict[str, State]:
    """Write the champion with `item` beside what every champion has, if the run still owns the release lock.

    `released` is set where it is written. Where no answer came `unsure` is set, and the pointer is read: `failed`
    catches what hinders that, `refused` follows where it was not written.
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
                            "Key": setting.item_key(f"LOCK#release#{setting.prefix}"),
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
        "ReadBack": task(
            "aws-sdk:dynamodb:getItem",
            arguments={"TableName": setting.table_name, "Key": setting.champion_key, "ConsistentRead": True},
            timeout_s=60,
            retries=LEDGER,
            catches=[failed],
            assign={"committedRun": jsonata("$states.result.Item.run_id.S & ''")},
            next_="IsCommitted",
        ),
        "IsCommitted": choice(("$committedRun = $runId", next_, released), default=refused, otherwise=refused_values),
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
