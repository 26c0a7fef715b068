"""The verdict document: what was judged, by what, what was found of every rule, and what to train on."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline_code.platform_jobs.quality.rules import Engine, Outcome, Rule

# Far below 256 KiB, what a state may hold, even in base64.
MOST_BYTES = 128 << 10
_MOST_REASONS = 40


class Judged(NamedTuple):
    """What a verdict is about: the run, its snapshot, and the hash of the rules."""

    run_id: str
    snapshot_uri: str
    ruleset_sha256: str


class Quarantined(NamedTuple):
    """Rows set apart: how many, by which rules, where, and the snapshot of the rest.

    `refused` says why nothing may be set apart.
    """

    rows: int = 0
    rules: tuple[str, ...] = ()
    uri: str | None = None
    snapshot_uri: str | None = None
    refused: str = ""


def verdict(
    judged: Judged,
    engine: Engine,
    *,
    rules: Sequence[tuple[Rule, Outcome]],
    anomalies: Sequence[tuple[Rule, Outcome]] = (),
    quarantined: Quarantined = Quarantined(),  # noqa: B008
    notes: Sequence[str] = (),
    engine_note: str = "",
) -> dict[str, Any]:
    """`block` if a blocking rule failed or quarantine was refused, `warn` if anything else did, else `pass`.

    A failed rule of severity quarantine blocks unless it is one of those by which rows were set apart.
    `notes` only warn.
    """
    results = [_result(rule, outcome) for rule, outcome in rules]
    compared = [_result(rule, outcome) for rule, outcome in anomalies]
    failed = [result for result in (*results, *compared) if not result["passed"]]
    hard = any(
        rule["severity"] == "block" or (rule["severity"] == "quarantine" and rule["rule"] not in quarantined.rules)
        for rule, outcome in (*rules, *anomalies)
        if not outcome.passed
    )
    reasons = [f"{result['rule']} ({result['severity']}): {result['detail']}" for result in failed]
    if quarantined.refused:
        reasons.insert(0, quarantined.refused)
    elif quarantined.rows:
        reasons.insert(0, f"{quarantined.rows} rows were quarantined")
    blocked = hard or bool(quarantined.refused)
    document = {
        "run_id": judged.run_id,
        "snapshot_uri": judged.snapshot_uri,
        "ruleset_sha256": judged.ruleset_sha256,
        "verdict": "block" if blocked else "warn" if reasons or notes else "pass",
        "training_snapshot_uri": None if blocked else quarantined.snapshot_uri or judged.snapshot_uri,
        "engine": engine.name,
        "engine_version": engine.version,
        "engine_note": engine_note,
        "rows": engine.rows,
        "quarantined_rows": quarantined.rows,
        "quarantine_uri": quarantined.uri,
        "rules": results,
        "anomalies": compared,
        "reasons": [*reasons, *notes],
    }
    return _fitted(document)


def _result(rule: Rule, outcome: Outcome) -> dict[str, Any]:
    return {
        "rule": rule["rule"],
        "severity": rule["severity"],
        "passed": outcome.passed,
        "observed": outcome.observed,
        "detail": outcome.detail,
    }


def _fitted(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its texts cut as far as its size asks for; no result is ever left out."""
    for most in (400, 100, 40, 20):
        cut = {
            **document,
            "rules": [_cut(each, most) for each in document["rules"]],
            "anomalies": [_cut(each, most) for each in document["anomalies"]],
            "reasons": [reason[:most] for reason in document["reasons"][:_MOST_REASONS]],
        }
        if len(json.dumps(cut, indent=1)) <= MOST_BYTES:
            break
    return cut


def _cut(result: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {**result, "rule": result["rule"][:most], "detail": result["detail"][:most]}
