"""What ingest tells: everything in one document, and as much as a state machine can carry in another."""

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

# A state's payload may have 256 KiB, and escaping may double it:
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_SUMMARY = 60_000
_LISTS = ("sources", "rejected", "reasons")


def result_of(
    snapshot: Mapping[str, Any] | None,
    sources: Sequence[Mapping[str, Any]],
    rejected: Sequence[Mapping[str, Any]],
    *,
    raw: str,
    trigger: str,
    unread: Set[str],
) -> dict[str, Any]:
    """The result document; `unread` are the keys of rejected files that were gone or replaced when they were read.

    `trigger` in it tells of the file that started the run: `accepted`, `rejected`, `absent` or, without one, `none`.
    """
    its_own = [file for file in rejected if file["key"] == trigger]
    if not trigger:
        outcome = "none"
    elif trigger in {source["key"] for source in sources}:
        outcome = "accepted"
    else:
        outcome = "rejected" if its_own and trigger not in unread else "absent"
    first = [*its_own, *(file for file in rejected if file["key"] != trigger)]
    reasons = [f"{file['key']} {file['reason']}" for file in first]
    if outcome == "absent" and not its_own:
        reasons.insert(0, f"{trigger} started the run but is not among the raw files: it was deleted or renamed")
    if not sources and not rejected:
        reasons.append(f"there is no file in {raw}")
    return {
        "status": "accepted" if snapshot else "rejected",
        "snapshot_uri": None,
        "snapshot_id": None,
        "rows": 0,
        **(snapshot or {}),
        "trigger": outcome,
        "files": {"accepted": len(sources), "rejected": len(rejected)},
        "sources": [*sources],
        "rejected": [*rejected],
        "reasons": reasons,
    }


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with lists short enough for a state machine: the newest files, and the first reasons."""
    most = max(len(result[name]) for name in _LISTS)
    shown = {**result}
    while len(json.dumps(shown)) > _SUMMARY:
        most //= 2
        # Not [-most:], which is everything when most is 0.
        newest = {name: result[name][max(0, len(result[name]) - most) :] for name in ("sources", "rejected")}
        left_out = len(result["reasons"]) - most
        reasons = [*result["reasons"][:most], *([f"and {left_out} more"] if left_out > 0 else [])]
        shown = {**result, **newest, "reasons": reasons}
    return shown
