"""Judge a model on the holdout, through its own inference.py, beside champion and baseline; write the report."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ..contract import CATEGORICAL, EVALUATION_FILE, FEATURES, GOLDEN_ROWS_FILE, DataError
from ..tables import labels_of, read_split
from .logic import Holdout, Policy, Tuning, check_baseline, check_classes, choose, evaluation
from .memory import drift_baseline, feature_distributions, golden_rows, sample_payload
from .metrics import auc
from .packed import ARCHIVE, NoAnswer, PackedModel
from .plots import draw_all
from .report import render

Load = Callable[[Path, str], PackedModel]


def main() -> None:
    """Run the step; a mistake in its inputs ends it with one sentence, a model below its gate does not end it."""
    options = arguments()
    try:
        with tempfile.TemporaryDirectory() as work:
            run(options, lambda archive, name: PackedModel(archive, folder=Path(work) / name, name=name))
    except NoAnswer as error:
        sys.exit(f"error: {error}; look at inference.py and at the step that trained it")
    except DataError as error:
        sys.exit(f"error: {error}")


def arguments() -> argparse.Namespace:
    """What the step is called with."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    for name in ("model", "champion", "train", "validation", "holdout", "baseline"):
        parser.add_argument(f"--input-{name}", type=Path, required=True)
    parser.add_argument("--input-tuned", type=Path, help="folder with the tuner's best model.tar.gz")
    parser.add_argument("--output-evaluation", type=Path, required=True)
    parser.add_argument("--output-model", type=Path, required=True, help="gets the model.tar.gz that was judged")
    parser.add_argument("--min-auc", type=float, required=True)
    parser.add_argument("--min-accuracy", type=float, required=True)
    parser.add_argument("--max-auc-drop", type=float, required=True)
    parser.add_argument("--segments", default="", help="columns, by comma, whose values are judged one by one")
    parser.add_argument("--compare-with-champion", type=str.lower, choices=("true", "false"), required=True)
    parser.add_argument("--seed", type=int, required=True, help="of the bootstrap")
    return parser.parse_args()


def run(options: argparse.Namespace, load: Load) -> None:
    """Read, judge, write."""
    segments = [name for name in options.segments.split(",") if name]
    if unknown := sorted(set(segments) - set(CATEGORICAL)):
        raise DataError(f"segments must be among the columns {list(CATEGORICAL)}, got {unknown}")
    table = read_split(options.input_holdout, "holdout")
    labels = labels_of(table)
    check_classes(labels, "holdout split")
    rows = table.select(FEATURES)
    baseline, description = read_baseline(options.input_baseline, rows=len(labels))

    candidates = {"default": load(options.input_model / ARCHIVE, "default model")}
    if options.input_tuned:
        candidates["tuned"] = load(options.input_tuned / ARCHIVE, "tuned model")
    scores = {name: model.scores(rows) for name, model in candidates.items()}
    source, tuning = "default", None
    if options.input_tuned:
        validation_auc = judge_on_validation(options.input_validation, candidates)
        source = choose(validation_auc)
        tuning = Tuning(default=scores["default"], tuned=scores["tuned"], validation_auc=validation_auc)
    challenger = candidates[source]
    champion, trouble = score_champion(options.input_champion, rows, load)

    holdout = Holdout(labels, scores[source], baseline=baseline, champion=champion, champion_trouble=trouble)
    report = evaluation(
        holdout,
        policy=Policy(
            floors={"auc": options.min_auc, "accuracy": options.min_accuracy},
            max_auc_drop=options.max_auc_drop,
            compare_with_champion=options.compare_with_champion == "true",
            segments={name: rows.column(name).to_pylist() for name in segments},
            seed=options.seed,
        ),
        source=source,
        baseline_description=description,
        tuning=tuning,
        importance=challenger.importance(),
    )
    golden = golden_rows(rows, scores[source], lambda body: challenger.answer(body, "text/csv"))
    train = read_split(options.input_train, "train")
    drift = drift_baseline(
        feature_distributions(train, challenger.encoding), train_rows=len(train), labels=labels, scores=scores[source]
    )
    plots = draw_all(holdout, report)
    write(options.output_evaluation / EVALUATION_FILE, as_json(report))
    write(options.output_evaluation / GOLDEN_ROWS_FILE, as_json(golden))
    write(options.output_evaluation / "drift_baseline.json", as_json(drift))
    write(options.output_evaluation / "sample_payload.tar.gz", sample_payload(golden["body"]))
    write(options.output_evaluation / "report.html", render(report, plots).encode())
    for name, drawing in plots.items():
        write(options.output_evaluation / "plots" / f"{name}.svg", drawing.encode())
    options.output_model.mkdir(parents=True, exist_ok=True)
    chosen = options.input_model if source == "default" else options.input_tuned
    shutil.copyfile(chosen / ARCHIVE, options.output_model / ARCHIVE)
    tell(report)


def read_baseline(folder: Path, *, rows: int) -> tuple[np.ndarray, str]:
    """The baseline's scores of the holdout, and what it is."""
    try:
        scores = pq.read_table(folder / "scores.parquet").column("score").to_numpy()
        description = json.loads((folder / "baseline.json").read_text(encoding="utf-8"))["description"]
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"the baseline cannot be read ({error}); run the baseline step again") from error
    return check_baseline(scores, rows=rows), str(description)


def judge_on_validation(folder: Path, candidates: dict[str, PackedModel]) -> dict[str, float]:
    """The AUC of each candidate on the validation split."""
    table = read_split(folder, "validation")
    labels = labels_of(table)
    check_classes(labels, "validation split")
    rows = table.select(FEATURES)
    return {name: auc(labels, model.scores(rows)) for name, model in candidates.items()}


def score_champion(folder: Path, rows: Any, load: Load) -> tuple[np.ndarray | None, str | None]:
    """The champion's scores, or neither on a first run, or the trouble it has with these rows."""
    if not (folder / ARCHIVE).is_file():
        check_first_run(folder)
        return None, None
    try:
        return load(folder / ARCHIVE, "champion").scores(rows), None
    except NoAnswer as error:
        return None, str(error)


def check_first_run(folder: Path) -> None:
    """Refuse a champion folder that holds neither a model nor the one file that says that there is none."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    try:
        if [path.suffix for path in found] == [".json"] and json.loads(found[0].read_bytes()) == {"champion": None}:
            return
    except ValueError:
        pass
    raise DataError(
        f'the champion must be {ARCHIVE}, or one .json file saying {{"champion": null}} on a first run, '
        f"got {[path.name for path in found]}; check ChampionUri"
    )


def as_json(content: Any) -> bytes:
    """JSON, the same bytes for the same content; NaN is refused."""
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()


def write(path: Path, content: bytes) -> None:
    """Write a file, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def tell(report: dict[str, Any]) -> None:
    """Say in the log what was found."""
    for name, metric in report["binary_classification_metrics"].items():
        if "value" in metric:
            print(f"{name}: {metric['value']} (baseline {report['baseline']['metrics'][name]})")
    for section in ("champion", "tuning"):
        if report[section]:
            print(report[section]["sentence"])
    for text in report["warnings"]:
        print(f"warning: {text}")
    print(f"gate: {report['gate']['rule']}")
    print("passed" if report["gate"]["passed"] else f"refused: {'; '.join(report['gate']['reasons'])}")


if __name__ == "__main__":
    main()
