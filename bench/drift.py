"""The drift job on captured census rows: what a row costs, and what memory, as the rows grow."""

import csv
import json
import random
import shutil
import sys
from datetime import UTC, datetime
from itertools import cycle, islice, pairwise
from pathlib import Path

from bench.preprocess import ROOT, cost
from pipeline_code.census.contract import CATEGORICAL, FEATURES, RENAMED

END = datetime(2026, 11, 27, 8, tzinfo=UTC)
SIZES = {"small": 10_000, "medium": 100_000, "large": 1_000_000}
# A file that is written once is read again and again: its rows are the same, and each is parsed and counted anew.
FILE_ROWS, FILES = 10_000, 10


def measure_drift(folder: Path) -> dict[str, float]:
    """Processor time and peak memory for ten thousand, a hundred thousand and a million rows."""
    work = folder / "drift"
    shutil.rmtree(work, ignore_errors=True)
    write_capture(work)
    figures: dict[str, float] = {}
    for name, rows in SIZES.items():
        found = cost([sys.executable, "-m", "bench.drift_job", str(work), str(rows)])
        figures |= {f"{name}_cpu_s": round(found.cpu_s, 1), f"{name}_peak_mb": round(found.peak_mb)}
    # What does not grow with the rows, such as imports, is in the smallest run too.
    per_row = {
        name: (figures[f"{name}_cpu_s"] - figures["small_cpu_s"]) / (SIZES[name] - SIZES["small"])
        for name in ("medium", "large")
    }
    figures["rows_per_s"] = round(1 / per_row["large"])
    figures["growth"] = round(per_row["large"] / per_row["medium"], 2)
    return figures


def write_capture(work: Path) -> None:
    """A folder with captured requests of one row each, labels for a tenth of them, and an evaluation."""
    rows = census_rows()
    chance = random.Random(3)
    place = work / "capture" / f"{END:%Y/%m/%d}" / "07"
    place.mkdir(parents=True)
    labels = ["inference_id,label"]
    for number in range(FILES):
        lines = []
        for at, row in enumerate(islice(cycle(rows), number * FILE_ROWS, (number + 1) * FILE_ROWS)):
            id_ = f"{number}-{at}"
            lines.append(captured(id_, row, chance.random()))
            if at % 10 == 0:
                labels.append(f"{id_},{int(chance.random() < 0.25)}")
        (place / f"{number}.jsonl").write_text("".join(lines))
    (work / "labels").mkdir()
    (work / "labels" / "a.csv").write_text("\n".join(labels))
    write_evaluation(work / "evaluation", rows)


def census_rows() -> list[list[str]]:
    """The features of every person, as requests carry them."""
    with (ROOT / "data" / "census.csv").open(newline="") as file:
        names = {RENAMED.get(name, name): name for name in next(csv.reader(file))}
        file.seek(0)
        return [[row[names[name]].strip() for name in FEATURES] for row in csv.DictReader(file)]


def captured(id_: str, row: list[str], score: float) -> str:
    """One exchange as data capture writes it."""
    asked = {"observedContentType": "text/csv", "mode": "INPUT", "data": ",".join(row), "encoding": "CSV"}
    text = json.dumps({"predictions": [score]})
    answered = {"observedContentType": "application/json", "mode": "OUTPUT", "data": text, "encoding": "JSON"}
    event = {"eventId": id_, "inferenceId": id_, "inferenceTime": "2026-11-27T07:30:00Z"}
    data = {"endpointInput": asked, "endpointOutput": answered}
    return json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"}) + "\n"


def write_evaluation(folder: Path, rows: list[list[str]]) -> None:
    """A baseline of the same rows with twenty bins a number."""
    features = {}
    for at, name in enumerate(FEATURES):
        values = [row[at] for row in rows]
        if name in CATEGORICAL:
            known = sorted(set(values) - {"?"})
            counts = {value: values.count(value) for value in known}
            features[name] = {"kind": "categorical", "counts": counts, "missing": values.count("?"), "unseen": 0}
            continue
        numbers = sorted(map(float, values))
        edges = sorted({numbers[len(numbers) * part // 20] for part in range(1, 20)})
        ends = [float("-inf"), *edges, float("inf")]
        bins = [sum(low <= number < high for number in numbers) for low, high in pairwise(ends)]
        features[name] = {"kind": "numeric", "edges": edges, "counts": bins, "missing": 0}
    drift = {
        "columns": list(FEATURES),
        "missing_values": ["", "?"],
        "features": features,
        "predictions": {"edges": [at / 20 for at in range(21)], "counts": [500] * 20},
        "labels": {"0": 7500, "1": 2500},
        "label_values": {},
    }
    metric = {"value": 0.9, "standard_deviation": 0.01}
    evaluation = {"binary_classification_metrics": {"auc": metric, "accuracy": metric}}
    folder.mkdir()
    (folder / "drift_baseline.json").write_text(json.dumps(drift))
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
