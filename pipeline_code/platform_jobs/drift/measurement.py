"""The measurement itself: captured lines and labels in, the report as a document out, one pass, in bounded memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .baseline import Baseline
from .capture import Exchange, Reading
from .decision import NOTHING, Findings, Moved, decide
from .distance import holm, kolmogorov_smirnov, p_value, population_stability_index, shares, total_variation
from .distribution import CategoryCounts, NumericCounts, ScoreCounts
from .ground_truth import GroundTruth
from .quality import LiveQuality, fall_p_value
from .window import Window

MEASURED, THIN, CORRUPT = "measured", "thin", "corrupt"
# Most of the window in ruins is no window.
MOST_CORRUPT = 0.5
# A class that became so much more or less frequent, in shares of all rows.
LABEL_SHIFT = 0.1
_BATCH = 5_000
Counts = NumericCounts | CategoryCounts | ScoreCounts


class Policy(NamedTuple):
    """From when on something has moved: beyond chance at the level `alpha`, and so far that it matters."""

    min_rows: int
    min_labels: int
    alpha: float
    max_psi: float
    max_auc_drop: float


class Span(NamedTuple):
    """What is looked at: the window of the inputs, the longer one whose answers labels may still reach, the release."""

    inputs: Window
    labelled: Window
    released: datetime

    @property
    def fresh(self) -> bool:
        """Whether the labelled window begins with the release."""
        return self.labelled.start <= self.released + timedelta(seconds=1)


class Watch:
    """Counts exchanges of a model; `rows` are those of the inputs' window, `reading` the files that touch it.

    Requests whose id begins with `own_id` are the platform's own and count for nothing; empty, there are none.
    """

    def __init__(self, baseline: Baseline, span: Span, truth: GroundTruth, *, own_id: str = "") -> None:
        self.features: dict[str, NumericCounts | CategoryCounts] = {
            name: (NumericCounts if found["kind"] == "numeric" else CategoryCounts)(found, baseline.missing)
            for name, found in baseline.features.items()
        }
        self.predictions = ScoreCounts(baseline.predictions)
        self.reading, self.earlier = Reading(), Reading()
        self.quality = LiveQuality()
        self.truth = truth
        self.rows = 0
        self.unanswered = 0
        self._own_id = own_id
        self._columns = list(baseline.features)
        self._span = span

    def read(self, files: Iterable[Iterable[bytes]], *, earlier: bool = False) -> None:
        """Count every file, given as pieces; of an `earlier` one, no request lies in the inputs' window.

        What is damaged there says nothing of the inputs, and does not hide that they are damaged.
        """
        reading = self.earlier if earlier else self.reading
        rows: list[Sequence[Any]] = []
        scores: list[float] = []
        answers: list[tuple[str, int, float]] = []
        for exchange in self._exchanges(files, reading):
            if self._span.inputs.holds(exchange.time):
                rows.extend(exchange.rows)
                scores.extend(exchange.scores or ())
                self.unanswered += len(exchange.rows) if exchange.scores is None else 0
            if self.truth.offered and exchange.scores and self._span.labelled.holds(exchange.time):
                answers.extend((exchange.id, row, score) for row, score in enumerate(exchange.scores))
            if max(len(rows), len(answers)) >= _BATCH:
                self._count(rows, scores, answers)
                rows, scores, answers = [], [], []
        self._count(rows, scores, answers)

    def _exchanges(self, files: Iterable[Iterable[bytes]], reading: Reading) -> Iterator[Exchange]:
        for chunks in files:
            for exchange in reading.exchanges(chunks, self._columns):
                if not (self._own_id and exchange.id.startswith(self._own_id)):
                    yield exchange

    def _count(
        self, rows: Sequence[Sequence[Any]], scores: Sequence[float], answers: Sequence[tuple[str, int, float]]
    ) -> None:
        self.rows += len(rows)
        for at, counts in enumerate(self.features.values()):
            counts.add([row[at] for row in rows])
        if scores:
            self.predictions.add(scores)
        self.truth.join(answers, self.quality)


def report(watch: Watch, baseline: Baseline, *, span: Span, policy: Policy, model: str) -> dict[str, Any]:
    """Everything that was found, as report.json has it."""
    reading, truth, rows = watch.reading, watch.truth, watch.rows
    enough = rows >= policy.min_rows
    features = [_compared(name, counts, tested=enough) for name, counts in watch.features.items()]
    predictions = _compared("predictions", watch.predictions, tested=enough)
    labels = _labels(truth, baseline, enough=policy.min_labels)
    quality = _quality(watch.quality, baseline, enough=policy.min_labels)
    _judge(features, predictions, labels, quality, policy)
    findings = Findings(
        moved=[Moved(each["name"], each["distance"], _gap_rise(each)) for each in features if each["moved"]],
        inputs_judged=enough,
        predictions_moved=predictions["moved"],
        broken_answers=_broken(predictions),
        labels_moved=labels["moved"],
        quality_fell=quality["fell"],
        fresh=span.fresh,
        corrupt_share=reading.corrupt_share,
    )
    status = _status(reading, judged=enough or _labels_judged(labels, quality))
    decision, why = decide(findings) if status == MEASURED else (NOTHING, "")
    found: dict[str, Any] = {
        "format": 1,
        "status": status,
        "model_package_arn": model,
        "window": {
            "start": f"{span.inputs.first}Z",
            "end": f"{span.inputs.last}Z",
            "labels_start": f"{span.labelled.first}Z",
            "released_at": f"{span.released:%Y-%m-%dT%H:%M:%SZ}",
        },
        "policy": {**policy._asdict(), "control": "Holm over all tests of this report"},
        "rows": rows,
        "unanswered_rows": watch.unanswered,
        "read": _read(reading),
        "read_earlier": _read(watch.earlier),
        "features": features,
        "predictions": predictions,
        "labels": labels,
        "quality": quality,
        "decision": {"choice": decision, "why": why},
    }
    return {**found, "sentence": _sentence(found)}


def summary(found: Mapping[str, Any], *, report_uri: str) -> dict[str, Any]:
    """What the state machine reads of a report: status, what to publish, what to say; small whatever the model is."""
    moved = _moved(found)
    quality = found["quality"]
    metrics = {"DriftFindings": float(len(moved)), "DriftRows": float(found["rows"])}
    if not _thin(found):
        metrics |= {
            "DriftedFeatures": float(sum(each["moved"] for each in found["features"])),
            "DriftMaxPsi": max((each["psi"] for each in found["features"]), default=0.0),
        }
    if quality["auc"] is not None:
        metrics |= {"LiveAuc": quality["auc"], "LiveAccuracy": quality["accuracy"]}
    return {
        "status": found["status"],
        "decision": found["decision"]["choice"],
        "sentence": found["sentence"],
        "message": message(found, report_uri=report_uri),
        "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
    }


def message(found: Mapping[str, Any], *, report_uri: str, most: int = 20) -> str:
    """What people are told: what moved with its numbers, one proposal, where the report is."""
    lines = [found["sentence"], ""]
    moved = [each for each in found["features"] if each["moved"]]
    for each in sorted(moved, key=lambda each: -each["psi"])[:most]:
        lines.append(
            f"  {each['name']}: PSI {each['psi']:.2f}, {each['distance_name']} {each['distance']:.2f}, missing"
            f" {each['missing']['baseline']:.1%} -> {each['missing']['live']:.1%}"
            + (f", unknown to the model {each['unseen']['live']:.1%}" if each["kind"] == "categorical" else "")
        )
    if len(moved) > most:
        lines.append(f"  and {len(moved) - most} more, which the report names")
    if found["predictions"]["moved"]:
        broken = _broken(found["predictions"])
        told = f", no probabilities {broken:.1%}" if broken else ""
        lines.append(f"  predictions: PSI {found['predictions']['psi']:.2f}{told}")
    labels, quality = found["labels"], found["quality"]
    if labels["moved"]:
        lines.append(f"  labels: {labels['rate']['baseline']:.1%} -> {labels['rate']['live']:.1%} positive")
    if quality["auc"] is None:
        lines.append(f"  {labels['sentence']}")
    else:
        lines.append(f"  live AUC {quality['auc']:.3f} (holdout {quality['baseline_auc']:.3f}), {labels['sentence']}")
    if found["read"]["corrupt_lines"]:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in found["read"]["reasons"].items())
        lines.append(f"  damaged: {found['read']['corrupt_lines']} of {found['read']['lines']} lines: {reasons}")
    decision = found["decision"]
    if decision["choice"] != NOTHING:
        lines += ["", f"Proposed: {decision['choice']}, for {decision['why']}."]
    return "\n".join([*lines, "", f"Model: {found['model_package_arn']}", f"Report: {report_uri}"])


def _read(reading: Reading) -> dict[str, Any]:
    return {
        "files": reading.files,
        "lines": reading.lines,
        "corrupt_files": reading.corrupt_files,
        "corrupt_lines": reading.corrupt_lines,
        "corrupt_share": round(reading.corrupt_share, 4),
        "reasons": dict(reading.reasons.most_common(10)),
    }


def _compared(name: str, counts: Counts, *, tested: bool) -> dict[str, Any]:
    baseline, live = counts.baseline, counts.counts
    numeric = counts.ordered > 0
    before, now = shares(baseline), shares(live)
    at_missing, at_unseen = len(live) - 1, len(live) - 2
    categorical = counts.kind == "categorical"
    gaps = counts.kind != "predictions"
    distance = (
        kolmogorov_smirnov(baseline[: counts.ordered], live[: counts.ordered])
        if numeric
        else total_variation(baseline, live)
    )
    return {
        "name": name,
        "kind": counts.kind,
        "psi": round(population_stability_index(baseline, live), 6),
        "distance": round(distance, 6),
        "distance_name": "KS distance" if numeric else "total variation",
        "p_value": p_value(baseline, live) if tested else None,
        "p_adjusted": None,
        "missing": _pair(before[at_missing], now[at_missing]) if gaps else _pair(0.0, 0.0),
        "unseen": _pair(before[at_unseen], now[at_unseen]) if categorical else _pair(0.0, 0.0),
        "invalid": counts.invalid,
        "examples": counts.examples,
        "bins": {
            "names": counts.names,
            "baseline": [round(float(share), 6) for share in before],
            "live": [round(float(share), 6) for share in now],
        },
    }


def _pair(before: float, now: float) -> dict[str, float]:
    return {"baseline": round(float(before), 6), "live": round(float(now), 6)}


def _gap_rise(feature: Mapping[str, Any]) -> float:
    rises = (feature[gap]["live"] - feature[gap]["baseline"] for gap in ("missing", "unseen"))
    return float(max(rises))


def _broken(predictions: Mapping[str, Any]) -> float:
    return float(predictions["bins"]["live"][-1])


def _labels(truth: GroundTruth, baseline: Baseline, *, enough: int) -> dict[str, Any]:
    joined = sum(truth.joined)
    share = joined / truth.offered if truth.offered else 0.0
    sentence = f"{joined} of {truth.offered} labels ({share:.0%}) met a captured answer"
    if not truth.offered:
        sentence = "no labels have come"
    elif joined < enough:
        sentence += f", too few to judge by ({enough} are needed)"
    before, now = shares(baseline.labels), shares(truth.joined)
    return {
        "offered": truth.offered,
        "joined": joined,
        "joined_share": round(share, 4),
        "corrupt_lines": truth.corrupt_lines,
        "reasons": dict(truth.reasons.most_common(10)),
        "rate": {"baseline": round(float(before[1]), 6), "live": round(float(now[1]), 6) if joined else None},
        "p_value": p_value(baseline.labels, truth.joined) if joined >= enough else None,
        "sentence": sentence,
    }


def _quality(live: LiveQuality, baseline: Baseline, *, enough: int) -> dict[str, Any]:
    known, auc, deviation = baseline.auc, live.auc, live.auc_deviation
    found: dict[str, Any] = {
        "rows": live.rows,
        "auc": None,
        "auc_deviation": None,
        "accuracy": None,
        "baseline_auc": known.value if known else None,
        "baseline_accuracy": baseline.accuracy.value if baseline.accuracy else None,
        "p_value": None,
    }
    if known is None or auc is None or deviation is None or live.rows < enough:
        return found
    p = fall_p_value(known.value - auc, known.deviation, deviation)
    return found | {"auc": auc, "auc_deviation": deviation, "accuracy": live.accuracy, "p_value": p}


def _judge(
    features: Sequence[dict[str, Any]],
    predictions: dict[str, Any],
    labels: dict[str, Any],
    quality: dict[str, Any],
    policy: Policy,
) -> None:
    """Say of everything tested whether it moved: beyond chance with all tests taken together, and far enough."""
    tested = [each for each in (*features, predictions, labels, quality) if each["p_value"] is not None]
    for each, adjusted in zip(tested, holm([each["p_value"] for each in tested]), strict=True):
        each["p_adjusted"] = adjusted
    sure = {id(each) for each in tested if each["p_adjusted"] < policy.alpha}
    for each in (*features, predictions):
        each["moved"] = id(each) in sure and each["psi"] >= policy.max_psi
    shift = abs((labels["rate"]["live"] or 0.0) - labels["rate"]["baseline"])
    labels["moved"] = id(labels) in sure and shift >= LABEL_SHIFT
    fell = None
    if quality["p_value"] is not None:
        fell = id(quality) in sure and quality["baseline_auc"] - quality["auc"] > policy.max_auc_drop
    quality["fell"] = fell


def _labels_judged(labels: Mapping[str, Any], quality: Mapping[str, Any]) -> bool:
    return labels["p_value"] is not None or quality["p_value"] is not None


def _thin(found: Mapping[str, Any]) -> bool:
    return bool(found["rows"] < found["policy"]["min_rows"])


def _status(reading: Reading, *, judged: bool) -> str:
    if reading.corrupt_share > MOST_CORRUPT:
        return CORRUPT
    return MEASURED if judged else THIN


def _moved(found: Mapping[str, Any]) -> list[str]:
    names = [each["name"] for each in found["features"] if each["moved"]]
    broken = _broken(found["predictions"])
    if found["predictions"]["moved"]:
        names.append(f"predictions ({broken:.1%} of them no probabilities)" if broken else "predictions")
    labels = ["labels"] if found["labels"]["moved"] else []
    return [*names, *labels, *(["the quality of the answers"] if found["quality"]["fell"] else [])]


def _sentence(found: Mapping[str, Any]) -> str:
    window = f"from {found['window']['start']} to {found['window']['end']}"
    read = found["read"]
    if found["status"] == CORRUPT:
        return (
            f"Most of what was captured {window} cannot be read ({read['corrupt_lines']} of {read['lines']} lines in"
            f" {read['files']} files), so nothing is said of drift"
        )
    moved, rows = _moved(found), f"{found['rows']} rows"
    names = ", ".join(moved[:10]) + (f" and {len(moved) - 10} more" if len(moved) > 10 else "")
    if _thin(found):
        told = f"{rows} were captured {window}, fewer than the {found['policy']['min_rows']} that drift is judged by"
        if found["status"] == THIN:
            return told
        return f"{told}; by {found['labels']['joined']} labels {f'these moved: {names}' if moved else 'nothing moved'}"
    if not moved:
        return f"Nothing moved among {rows} captured {window}"
    return f"Moved, judged by {rows} captured {window}: {names}"
