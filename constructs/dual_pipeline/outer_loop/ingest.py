"""From raw files to a checked snapshot: ingest, quality verdict, and quarantine of what the rules block."""

from dual_pipeline.asl import (
    GLUE_ERRORS,
    S3_ERRORS,
    Fragment,
    State,
    Statement,
    catch,
    choice,
    jsonata,
    quote,
    retry,
    task,
)
from dual_pipeline.outer_loop.setting import CAUSE, FAILED, Setting, decoded, seconds

S3_RETRY = [retry(S3_ERRORS, attempts=3)]
_GLUE_PAGE = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-glue.html"

# The rules judge all files of a snapshot together, so that only a lone one is known to be to blame.
_ALONE = "($ingest.files.accepted = 1 and $ingest.trigger = 'accepted')"
_SUSPECTS = """(
  $keys := $join($reverse([$ingest.sources.key]), ', ');
  '; no file was moved, for any of these may be the cause, newest first: '
    & ($keys = '' ? 'not known' : $substring($keys, 0, 1000))
)"""


def ingest(setting: Setting) -> Fragment:
    """Run the two Glue jobs, believe only the documents they leave, and quarantine a trigger that is to blame.

    A Glue job has no client token; its outputs are content-addressed or the run's own, so a second run is harmless.
    """
    limits, project = setting.project.limits, setting.project
    data = f"s3://{setting.data_bucket}/{project.name}"
    run = f"'{project.name}/runs/' & $runId"
    culprit = "$ingest.trigger = 'rejected'"
    states: dict[str, State] = {
        "IngestData": _job(
            setting,
            "ingest",
            arguments={
                "--input_raw": f"{data}/raw/",
                "--output_snapshots": f"{data}/snapshots/",
                "--output_result": jsonata(f"'s3://{setting.data_bucket}/' & {run} & '/ingest.json'"),
                "--output_files": jsonata(f"'s3://{setting.data_bucket}/' & {run} & '/ingest-files.json'"),
                "--contract": project.contract.to_json(),
                "--trigger_key": jsonata("$type($trigger.source) = 'object' ? $trigger.source.key : ''"),
            },
            timeout_s=seconds(limits.ingest),
            next_="ReadIngest",
        ),
        "ReadIngest": _read(
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
                    "reason": jsonata(
                        "'raw files were rejected: ' & " + _reasons("$ingest.reasons", "no reason given")
                    ),
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
                    "quiet": jsonata("$not($trigger.reason in ['person', 'drift'])"),
                    "snapshotUri": jsonata("$ingest.snapshot_uri"),
                    "reason": jsonata(
                        "'nothing to do: run ' & $trained.run & ' has judged a model of the same data, code and rules;"
                        " a person may insist (force)'"
                    ),
                },
            ),
            (
                "$ingest.status = 'accepted' and $type($ingest.snapshot_uri) = 'string'",
                "EvaluateDataQuality",
                {
                    "snapshotUri": jsonata("$ingest.snapshot_uri"),
                    "trouble": jsonata(
                        f"($said := {_reasons('$ingest.reasons', '')};"
                        " $said = '' ? '' : 'raw files were left out: ' & $said)"
                    ),
                },
            ),
            default="FreeLocks",
            otherwise={
                "outcome": "failed",
                "failedState": "ReadIngest",
                "reason": "ReadIngest failed: ingest.json has no status accepted or rejected",
            },
        ),
        "EvaluateDataQuality": _job(
            setting,
            "quality",
            arguments={
                "--input_snapshot": jsonata("$snapshotUri"),
                "--output_verdict": jsonata(f"'s3://{setting.data_bucket}/' & {run} & '/verdict.json'"),
                "--ruleset": project.ruleset.to_json(),
            },
            timeout_s=seconds(limits.quality),
            next_="ReadVerdict",
        ),
        "ReadVerdict": _read(
            setting,
            key=jsonata(f"{run} & '/verdict.json'"),
            assign={
                "verdict": jsonata(
                    f"($v := {decoded('$states.result.Body')};"
                    " {'verdict': $type($v.verdict) = 'string' ? $v.verdict : '', 'reasons': "
                    + _reasons("$v.reasons", "no reason given")
                    + "})"
                )
            },
            next_="GateData",
        ),
        "GateData": choice(
            ("$verdict.verdict in ['pass', 'warn']", setting.checked_data_state),
            (
                "$verdict.verdict = 'block'",
                "ChooseQuarantine",
                {
                    "outcome": "blocked",
                    "reason": jsonata(
                        f"'the data failed its quality rules: ' & $verdict.reasons & ({_ALONE} ? '' : {_SUSPECTS})"
                    ),
                    "culprit": jsonata(_ALONE),
                },
            ),
            default="FreeLocks",
            otherwise={
                "outcome": "failed",
                "failedState": "ReadVerdict",
                "reason": "ReadVerdict failed: verdict.json says neither pass, warn nor block",
            },
        ),
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


def _job(setting: Setting, job: str, *, arguments: State, timeout_s: int, next_: str) -> State:
    return task(
        "glue:startJobRun.sync",
        arguments={"JobName": f"{setting.prefix}-{job}", "Arguments": arguments},
        timeout_s=timeout_s,
        retries=[retry(GLUE_ERRORS, interval_s=10, most_s=120)],
        catches=[FAILED],
        next_=next_,
    )


def _read(setting: Setting, *, key: str, assign: State, next_: str) -> State:
    return task(
        "aws-sdk:s3:getObject",
        arguments={"Bucket": setting.data_bucket, "Key": key},
        timeout_s=60,
        retries=S3_RETRY,
        catches=[FAILED],
        assign=assign,
        next_=next_,
    )


def _reasons(value: str, otherwise: str) -> str:
    return f"($r := $join([[{value}].$string()], '; '); $r = '' ? {quote(otherwise)} : $substring($r, 0, 1500))"


def _not_quarantined(what: str) -> State:
    return catch(next_="FreeLocks", assign={"trouble": jsonata(f"{quote(what + ': ')} & {CAUSE[3:-3]}")})
