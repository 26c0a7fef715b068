"""From raw files to a checked snapshot: ingest, quality verdict, and quarantine of what the rules block."""

from dual_pipeline.asl import Fragment, State, Statement, catch, choice, jsonata, quote, task
from dual_pipeline.outer_loop.quality import S3_RETRY, glue_job, quality, read_document, reasons
from dual_pipeline.outer_loop.setting import CAUSE_TEXT, Setting, decoded, seconds

_GLUE_PAGE = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-glue.html"


def ingest(setting: Setting) -> Fragment:
    """Run the two Glue jobs, believe only the documents they leave, and quarantine a trigger that is to blame.

    A Glue job has no client token; its outputs are content-addressed or the run's own, so a second run is harmless.
    """
    limits, project = setting.project.limits, setting.project
    data = f"s3://{setting.data_bucket}/{project.name}"
    run = f"'{project.name}/runs/' & $runId"
    culprit = "$ingest.trigger = 'rejected'"
    left_out = f"($said := {reasons('$ingest.reasons', '')}; $said = '' ? '' : 'raw files were left out: ' & $said)"
    states: dict[str, State] = {
        "IngestData": glue_job(
            setting,
            "ingest",
            arguments={
                "--input_raw": f"{data}/raw/",
                "--output_snapshots": setting.snapshots,
                "--output_result": jsonata(f"'s3://{setting.data_bucket}/' & {run} & '/ingest.json'"),
                "--output_files": jsonata(f"'s3://{setting.data_bucket}/' & {run} & '/ingest-files.json'"),
                "--contract": project.contract.to_json(),
                "--trigger_key": jsonata("$type($trigger.source) = 'object' ? $trigger.source.key : ''"),
            },
            timeout_s=seconds(limits.ingest),
            next_="ReadIngest",
        ),
        "ReadIngest": read_document(
            setting,
            key=jsonata(f"{run} & '/ingest.json'"),
            assign={
                "ingest": jsonata(decoded("$states.result.Body")),
            },
            next_="CheckIngest",
        ),
        # Good files do not excuse the one that started the run: whoever delivered it waits for it to be trained on.
        "CheckIngest": choice(
            (
                f"$ingest.status = 'rejected' or ($ingest.status = 'accepted' and {culprit})",
                "ChooseQuarantine",
                {
                    "outcome": "blocked",
                    "reason": jsonata("'raw files were rejected: ' & " + reasons("$ingest.reasons", "no reason given")),
                    "culprit": jsonata(culprit),
                },
            ),
            (
                # What was judged before is judged alike again; people who insist may have it so.
                "$ingest.snapshot_uri = $trained.snapshot and $code != '' and $code = $trained.code"
                " and $not($trigger.force)",
                "FreeLocks",
                {
                    "outcome": "suppressed",
                    "quiet": jsonata(f"$not($trigger.reason in ['person', 'drift']) and {left_out} = ''"),
                    "trouble": jsonata(left_out),
                    "snapshotUri": jsonata("$ingest.snapshot_uri"),
                    "reason": jsonata(
                        "'nothing to do: run ' & $trained.run & ' has judged a model of the same data, code and rules;"
                        " a person may insist (force)'"
                    ),
                },
            ),
            (
                f"$ingest.status = 'accepted' and {setting.is_snapshot('$ingest.snapshot_uri')}",
                "EvaluateDataQuality",
                {
                    "snapshotUri": jsonata("$ingest.snapshot_uri"),
                    "trouble": jsonata(left_out),
                },
            ),
            default="FreeLocks",
            otherwise={
                "outcome": "failed",
                "failedState": "ReadIngest",
                "reason": "ReadIngest failed: ingest.json has no status accepted or rejected",
            },
        ),
        **quality(setting),
        "ChooseQuarantine": choice(
            (
                "$culprit and $type($trigger.source) = 'object'"
                " and $trigger.source.version_id != '' and $trigger.source.etag != ''",
                "Quarantine",
            ),
            default="FreeLocks",
        ),
        "Quarantine": task(
            "aws-sdk:s3:copyObject",
            arguments={
                "Bucket": setting.data_bucket,
                "Key": jsonata(
                    f"'{project.name}/quarantine/' & $runId & '/' & "
                    f"$substringAfter($trigger.source.key, {quote(setting.raw_prefix)})"
                ),
                "CopySource": jsonata(
                    f"'{setting.data_bucket}/' & $join($split($trigger.source.key, '/').$encodeUrlComponent($), '/')"
                    " & '?versionId=' & $trigger.source.version_id"
                ),
                "TaggingDirective": "REPLACE",
            },
            timeout_s=900,
            retries=S3_RETRY,
            catches=[_not_quarantined("the object was not quarantined and still lies below raw/")],
            next_="RemoveQuarantined",
        ),
        # On a versioned bucket this sets a delete marker, and with IfMatch only over the version that was copied.
        "RemoveQuarantined": task(
            "aws-sdk:s3:deleteObject",
            arguments={
                "Bucket": setting.data_bucket,
                "Key": jsonata("$trigger.source.key"),
                "IfMatch": jsonata("$trigger.source.etag"),
            },
            timeout_s=60,
            retries=S3_RETRY,
            catches=[
                _not_quarantined("the quarantined object was not removed from raw/, where a newer version may lie")
            ],
            next_="FreeLocks",
        ),
    }
    raw = setting.bucket_arn(setting.data_bucket, f"{setting.raw_prefix}*")
    return Fragment(
        states=states,
        statements=(
            Statement(
                actions=("glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"),
                resources=tuple(setting.arn("glue", f"job/{setting.prefix}-{job}") for job in ("ingest", "quality")),
                source=_GLUE_PAGE,
            ),
            *setting.reads(setting.data_bucket, f"{project.name}/runs/*"),
            Statement(
                actions=("s3:GetObject", "s3:GetObjectVersion"),
                resources=(raw,),
                source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html",
            ),
            Statement(
                actions=("s3:PutObject",),
                resources=(setting.bucket_arn(setting.data_bucket, f"{project.name}/quarantine/*"),),
                source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html",
            ),
            Statement(
                actions=("s3:DeleteObject",),
                resources=(raw,),
                source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html",
            ),
        ),
    )


def _not_quarantined(what: str) -> State:
    return catch(next_="FreeLocks", assign={"trouble": jsonata(f"{quote(what + ': ')} & {CAUSE_TEXT}")})
