"""Small models with their baselines, and data capture of an endpoint that serves one."""

import base64
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline_code.platform_jobs.drift.baseline import Baseline, baseline_of
from pipeline_code.platform_jobs.drift.ground_truth import GroundTruth
from pipeline_code.platform_jobs.drift.measurement import Policy, Span, Watch, report
from pipeline_code.platform_jobs.drift.window import window_before

END = datetime(2026, 11, 27, 8, tzinfo=UTC)
DAY = timedelta(days=1)
JOBS = ("clerk", "smith", "baker")
POLICY = Policy(min_rows=100, min_labels=50, alpha=0.01, max_psi=0.2, max_auc_drop=0.05)

Row = tuple[str, str]


def rows(count: int, *, seed: int = 7, older: float = 0.0, jobs: Sequence[str] = JOBS) -> list[Row]:
    """People of a normal age, `older` years more, and of a job of the first kind half of the time."""
    chance = random.Random(seed)
    weights = [len(jobs), *(1 for _ in jobs[1:])]
    return [
        (f"{chance.gauss(40 + older, 10):.1f}", chance.choices(jobs, weights)[0] if chance.random() > 0.05 else "?")
        for _ in range(count)
    ]


def documents(learned: Iterable[Row] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """The drift baseline and the evaluation that a model of such rows has."""
    given = list(learned) or rows(20_000, seed=1)
    ages, jobs = [float(age) for age, _ in given], [job for _, job in given]
    edges = [float(edge) for edge in range(20, 65, 5)]
    counts = [sum(low <= age < high for age in ages) for low, high in zip([-1e9, *edges], [*edges, 1e9], strict=True)]
    drift = {
        "columns": ["age", "job"],
        "missing_values": ["", "?"],
        "features": {
            "age": {"kind": "numeric", "edges": edges, "counts": counts, "missing": 0},
            "job": {
                "kind": "categorical",
                "counts": {job: jobs.count(job) for job in JOBS},
                "missing": jobs.count("?"),
                "unseen": 0,
            },
        },
        "predictions": {"edges": [0.0, 0.25, 0.5, 0.75, 1.0], "counts": [2500, 2500, 2500, 2500]},
        "labels": {"0": 7500, "1": 2500},
        "label_values": {"<=50K": 0, ">50K": 1},
    }
    metric = {"value": 0.92, "standard_deviation": 0.002}
    return drift, {"binary_classification_metrics": {"auc": metric, "accuracy": metric}}


def baseline(learned: Iterable[Row] = ()) -> Baseline:
    """The same as the job reads it."""
    return baseline_of(*documents(learned))


def line(
    asked: Sequence[Row],
    answered: Sequence[float] | None,
    *,
    at: datetime = END - timedelta(hours=1),
    id_: str = "id",
    base64_: bool = False,
) -> str:
    """One captured exchange as AWS writes it."""
    text = "\n".join(",".join(row) for row in asked)
    data = {"endpointInput": _part("INPUT", "text/csv", text, "BASE64" if base64_ else "CSV")}
    if answered is not None:
        body = json.dumps({"predictions": list(answered)})
        data["endpointOutput"] = _part("OUTPUT", "application/json", body, "JSON")
    event = {"eventId": f"event-{id_}", "inferenceId": id_, "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"})


def _part(mode: str, kind: str, text: str, encoding: str) -> dict[str, str]:
    body = base64.b64encode(text.encode()).decode() if encoding == "BASE64" else text
    return {"observedContentType": kind, "mode": mode, "data": body, "encoding": encoding}


def captured(asked: Sequence[Row], *, at: datetime = END - timedelta(hours=1), seed: int = 3) -> list[str]:
    """A line for each row, answered by evenly spread scores."""
    chance = random.Random(seed)
    return [line([row], [chance.random()], at=at, id_=str(number)) for number, row in enumerate(asked)]


def span(*, released: datetime = END - 30 * DAY, length: timedelta = DAY, labels: timedelta = 14 * DAY) -> Span:
    """The windows before END."""
    inputs, labelled = (window_before(END, length=each, released=released) for each in (length, labels))
    return Span(inputs, labelled, released)


def labels_of(known: Mapping[str, Any], learned: Baseline | None = None) -> GroundTruth:
    """Ground truth of one CSV file: labels by inference id."""
    truth = GroundTruth((learned or baseline()).classes)
    text = "inference_id,label\n" + "".join(f"{id_},{label}\n" for id_, label in known.items())
    truth.add("a.csv", [text.encode()])
    truth.ready()
    return truth


def measured(
    lines: Iterable[str | bytes],
    *,
    truth: GroundTruth | None = None,
    over: Span | None = None,
    policy: Policy = POLICY,
) -> dict[str, Any]:
    """The report on one file of captured lines."""
    learned, windows = baseline(), over or span()
    watch = Watch(learned, windows, truth or labels_of({}))
    watch.read([[b"\n".join(each if isinstance(each, bytes) else each.encode() for each in lines)]])
    return report(watch, learned, span=windows, policy=policy, model="arn:model")
