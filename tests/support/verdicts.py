"""Verdict documents as the quality job writes them."""

from typing import Any

from dual_pipeline.ruleset import Ruleset


def verdict_document(ruleset: Ruleset, *, run_id: str, snapshot_uri: str, **changes: Any) -> dict[str, Any]:
    """A verdict by which everything passed; `changes` replace its fields, `broken` fails the rules at these places."""
    broken: tuple[int, ...] = changes.pop("broken", ())
    rules = [
        {
            "rule": rule.dqdl,
            "severity": rule.severity,
            "passed": at not in broken,
            "observed": 1.0,
            "detail": "observed 1",
        }
        for at, rule in enumerate(ruleset.rules)
    ]
    anomalies = [
        {"rule": each.name, "severity": each.severity, "passed": True, "observed": 1.0, "detail": "observed 1"}
        for each in ruleset.anomalies
    ]
    return {
        "run_id": run_id,
        "snapshot_uri": snapshot_uri,
        "ruleset_sha256": ruleset.sha256,
        "verdict": "pass",
        "training_snapshot_uri": snapshot_uri,
        "engine": "duckdb",
        "engine_version": "2.0.0",
        "rows": 1000,
        "quarantined_rows": 0,
        "quarantine_uri": None,
        "rules": rules,
        "anomalies": anomalies,
        "reasons": [],
        **changes,
    }
