"""One run of the quality job: judge, set rows apart, compare with history, and write what came of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from pipeline_code.platform_jobs.files import Files
from pipeline_code.platform_jobs.quality import history
from pipeline_code.platform_jobs.quality.dqdl import normal
from pipeline_code.platform_jobs.quality.engines import Open, data_of
from pipeline_code.platform_jobs.quality.rules import ROW_LEVEL, Engine, Outcome, Rule, condition, outcomes
from pipeline_code.platform_jobs.quality.verdict import Judged, Quarantined, verdict
from pipeline_code.platform_jobs.snapshot import write_snapshot

REASONS = "reasons"
_MOST_DOCUMENT = 16 << 20


class Places(NamedTuple):
    """Where a run reads the history and the manifest, and writes what it makes; URIs."""

    input_history: str
    output_history: str
    output_snapshots: str
    output_rows: str


def run(
    spark: SparkSession,
    open_engine: Open,
    *,
    judged: Judged,
    ruleset: Mapping[str, Any],
    places: Places,
    note: str = "",
) -> dict[str, Any]:
    """The verdict document; `note` says why the engine is not the one to be expected."""
    files = Files(spark)
    engine = open_engine(judged.snapshot_uri)
    rules: Sequence[Rule] = ruleset["rules"]
    found = dict(zip((rule["rule"] for rule in rules), outcomes(engine, rules), strict=True))
    data = spark.read.parquet(data_of(judged.snapshot_uri))
    quarantined = _quarantine(files, data, engine, found, judged=judged, ruleset=ruleset, places=places)
    training_uri = quarantined.snapshot_uri or judged.snapshot_uri
    if quarantined.snapshot_uri:
        # What is trained on has to satisfy the other rules, without the rows that were set apart.
        rest = [rule for rule in rules if rule["severity"] != "quarantine"]
        kept = open_engine(quarantined.snapshot_uri)
        found |= dict(zip((rule["rule"] for rule in rest), outcomes(kept, rest), strict=True))
        data = spark.read.parquet(data_of(quarantined.snapshot_uri))
    row = normal(data).selectExpr(*history.measures(engine.columns)).collect()[0].asDict()
    entry = history.entry_of(row, engine.columns, snapshot_uri=training_uri, run_id=judged.run_id)
    entries, notes = _history(files, places.input_history)
    compared = history.judge(entries, entry, ruleset["anomalies"])
    document = verdict(
        judged,
        engine,
        rules=[(rule, found[rule["rule"]]) for rule in rules],
        anomalies=list(zip(ruleset["anomalies"], compared, strict=True)),
        quarantined=quarantined,
        notes=notes,
        engine_note=note,
    )
    if document["verdict"] != "block":
        files.write_json(places.output_history, history.appended(entries, entry, most=ruleset["history_runs"]))
    return document


def _quarantine(
    files: Files,
    data: DataFrame,
    engine: Engine,
    found: Mapping[str, Outcome],
    *,
    judged: Judged,
    ruleset: Mapping[str, Any],
    places: Places,
) -> Quarantined:
    """Set apart the rows that break a failed row-level rule of severity quarantine, unless they are too many."""
    rules = [rule for rule in ruleset["rules"] if rule["severity"] == "quarantine" and not found[rule["rule"]].passed]
    rules = [rule for rule in rules if rule["kind"] in ROW_LEVEL and rule["column"] in engine.columns]
    if not rules or not engine.rows:
        return Quarantined()
    marked = broken_rules(data, rules).cache()
    bad = marked.where(F.size(REASONS) > 0)
    count = bad.count()
    most = ruleset["max_quarantined"]
    if count == engine.rows:
        return Quarantined(refused=f"all {count} rows would be quarantined")
    if count > most * engine.rows:
        refused = f"{count} of {engine.rows} rows would be quarantined, more than the share {most:g} allows"
        return Quarantined(refused=refused)
    if count == 0:
        return Quarantined()
    bad.coalesce(1).write.mode("overwrite").parquet(places.output_rows)
    manifest = json.loads(files.head(f"{judged.snapshot_uri.rstrip('/')}/manifest.json", _MOST_DOCUMENT))
    kept = write_snapshot(
        files,
        marked.where(F.size(REASONS) == 0).drop(REASONS),
        snapshots=places.output_snapshots,
        sources=manifest["sources"],
        schema=manifest["schema"],
        label=manifest["label"],
    )
    marked.unpersist()
    names = tuple(rule["rule"] for rule in rules)
    return Quarantined(rows=count, rules=names, uri=places.output_rows, snapshot_uri=kept["snapshot_uri"])


def broken_rules(data: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """The rows as they are, with the texts of the rules that each of them breaks."""
    values = {name: f"`{name}`" for name in data.columns}
    for name, kind in data.dtypes:
        if kind in ("double", "float"):
            values[name] = f"if(isnan(`{name}`) or abs(`{name}`) = double('infinity'), null, `{name}` + 0.0)"
    marks = [F.when(~F.expr(condition(rule, values[rule["column"]])), F.lit(rule["rule"])) for rule in rules]
    return data.withColumn(REASONS, F.array_compact(F.array(*marks)))


def _history(files: Files, uri: str) -> tuple[list[history.Entry], list[str]]:
    if not files.exists(uri):
        return [], []
    try:
        return history.parse(files.head(uri, _MOST_DOCUMENT)), []
    except history.HistoryError as error:
        return [], [f"the history {error} and was begun anew, so anomalies were not judged: {uri}"]
