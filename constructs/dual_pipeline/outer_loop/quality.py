"""The quality verdict: asked of the Glue job, believed only where it is whole and of this run, counted, acted upon."""

from dual_pipeline.asl import (
    GLUE_ERRORS,
    S3_ERRORS,
    State,
    choice,
    jsonata,
    quote,
    retry,
    task,
)
from dual_pipeline.loop_contract import QUALITY_METRICS, VERDICT_METRIC
from dual_pipeline.outer_loop.finish import put_metrics
from dual_pipeline.outer_loop.setting import FAILED, Setting, decoded, seconds

S3_RETRY = [retry(S3_ERRORS, attempts=3)]

# The rules judge all files of a snapshot together, so that only a lone one is known to be to blame.
_ALONE = "($ingest.files.accepted = 1 and $ingest.trigger = 'accepted')"
_SUSPECTS = """(
  $keys := $join($reverse([$ingest.sources.key]), ', ');
  '; no file was moved, for any of these may be the cause, newest first: '
    & ($keys = '' ? 'not known' : $substring($keys, 0, 1000))
)"""


def quality(setting: Setting) -> dict[str, State]:
    """Judge the snapshot; training goes on with the snapshot that the verdict names, which lacks the rows set apart."""
    project = setting.project
    data = f"s3://{setting.data_bucket}/{project.name}"
    run = f"'{project.name}/runs/' & $runId"
    history = f"{data}/quality/history.json"
    return {
        "EvaluateDataQuality": glue_job(
            setting,
            "quality",
            arguments={
                "--run_id": jsonata("$runId"),
                "--input_snapshot": jsonata("$snapshotUri"),
                "--input_history": history,
                "--output_history": history,
                "--output_verdict": jsonata(f"'s3://{setting.data_bucket}/' & {run} & '/verdict.json'"),
                "--output_snapshots": setting.snapshots,
                "--output_rows": jsonata(f"'{data}/quarantine/' & $runId & '/rows/'"),
                "--ruleset": project.ruleset.to_json(),
            },
            timeout_s=seconds(project.limits.quality),
            next_="ReadVerdict",
        ),
        "ReadVerdict": read_document(
            setting,
            key=jsonata(f"{run} & '/verdict.json'"),
            assign={"verdict": jsonata(_verdict(setting))},
            next_="PublishQuality",
        ),
        "PublishQuality": _publish(setting, next_="GateData"),
        "GateData": choice(
            (
                "$verdict.problem != ''",
                "FreeLocks",
                {
                    "outcome": "failed",
                    "failedState": "ReadVerdict",
                    "reason": jsonata("'ReadVerdict failed: verdict.json ' & $verdict.problem"),
                },
            ),
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
            default=setting.checked_data_state,
            otherwise={"snapshotUri": jsonata("$verdict.snapshot")},
        ),
    }


def _verdict(setting: Setting) -> str:
    """JSONata for what is kept of verdict.json, and in `problem` why it cannot be believed.

    Whoever can write the document can write a false one; this finds one that is stale, cut or put together by hand.
    """
    ruleset = setting.project.ruleset
    uri = f"'s3://{setting.data_bucket}/{setting.project.name}/runs/' & $runId & '/verdict.json'"
    problems = (
        ("$type($v) != 'object' or $not($v.verdict in ['pass', 'warn', 'block'])", "says neither pass, warn nor block"),
        ("$not($v.run_id = $runId)", "is of another run"),
        ("$not($v.snapshot_uri = $snapshotUri)", "is about another snapshot"),
        (f"$not($v.ruleset_sha256 = {quote(ruleset.sha256)})", "is about another ruleset"),
        (
            "$type($v.engine) != 'string' or $type($v.rows) != 'number' or $type($v.quarantined_rows) != 'number'",
            "lacks the engine or a number of rows",
        ),
        (
            f"$count([$v.rules]) != {len(ruleset.rules)} or $count([$v.anomalies]) != {len(ruleset.anomalies)}"
            " or $count($all[passed in [true, false]]) != $count($all)",
            "lacks results of rules",
        ),
        ("$v.verdict != 'block' and $count($broken[severity = 'block']) > 0", "does not block though a rule does"),
        ("$v.verdict = 'pass' and $count($broken) > 0", "passes though a rule failed"),
        (
            "$v.verdict != 'block' and $v.quarantined_rows = 0"
            " and ($count($broken[severity = 'quarantine']) > 0 or $not($v.training_snapshot_uri = $snapshotUri))",
            "names another snapshot to train on though no row was quarantined",
        ),
        (
            f"$v.verdict != 'block' and $not({setting.is_snapshot('$v.training_snapshot_uri')})",
            "names no snapshot to train on",
        ),
    )
    chain = "".join(f"{condition} ? {quote(words)} : " for condition, words in problems)
    return (
        f"($v := {decoded('$states.result.Body')};"
        " $all := $append($append([], [$v.rules]), [$v.anomalies]); $broken := $all[$not(passed = true)];"
        f" {{'problem': {chain}'', 'uri': {uri},"
        " 'verdict': $type($v.verdict) = 'string' ? $v.verdict : '',"
        " 'engine': $type($v.engine) = 'string' ? $v.engine & ' ' & $v.engine_version : '',"
        " 'rows': $type($v.rows) = 'number' ? $v.rows : 0,"
        " 'failed': $count($broken),"
        " 'quarantined': $type($v.quarantined_rows) = 'number' ? $v.quarantined_rows : 0,"
        " 'snapshot': $type($v.training_snapshot_uri) = 'string' ? $v.training_snapshot_uri : '',"
        f" 'reasons': {reasons('$v.reasons', 'no reason given')}}})"
    )


def _publish(setting: Setting, *, next_: str) -> State:
    """Count what was found; a verdict that cannot be believed counts as `invalid`, its numbers for nothing."""
    dimensions = [
        {"Name": "Environment", "Value": setting.environment.name},
        {"Name": "Project", "Value": setting.project.name},
    ]
    values = zip(QUALITY_METRICS, ("rows", "failed", "quarantined"), strict=True)
    numbers: list[State] = [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Value": jsonata(f"$verdict.problem = '' ? $verdict.{value} : 0"),
            "Unit": "Count",
        }
        for name, value in values
    ]
    verdict: State = {
        "MetricName": VERDICT_METRIC,
        "Dimensions": [
            *dimensions,
            {"Name": "Verdict", "Value": jsonata("$verdict.problem = '' ? $verdict.verdict : 'invalid'")},
        ],
        "Value": 1,
        "Unit": "Count",
    }
    return put_metrics([*numbers, verdict], next_=next_)


def glue_job(setting: Setting, job: str, *, arguments: State, timeout_s: int, next_: str) -> State:
    """Run one of the project's Glue jobs to its end."""
    return task(
        "glue:startJobRun.sync",
        arguments={"JobName": f"{setting.prefix}-{job}", "Arguments": arguments},
        timeout_s=timeout_s,
        retries=[retry(GLUE_ERRORS, interval_s=10, most_s=120)],
        catches=[FAILED],
        next_=next_,
    )


def read_document(setting: Setting, *, key: str, assign: State, next_: str) -> State:
    """Read a document that a job left in the data bucket."""
    return task(
        "aws-sdk:s3:getObject",
        arguments={"Bucket": setting.data_bucket, "Key": key},
        timeout_s=60,
        retries=S3_RETRY,
        catches=[FAILED],
        assign=assign,
        next_=next_,
    )


def reasons(value: str, otherwise: str) -> str:
    """JSONata for a list of reasons as one text."""
    return f"($r := $join([[{value}].$string()], '; '); $r = '' ? {quote(otherwise)} : $substring($r, 0, 1500))"
