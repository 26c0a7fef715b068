"""Judge a model on the holdout, through its own inference.py, beside champion and baseline; write the report."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import (
    BASELINE_FILE,
    CATEGORICAL,
    DRIFT_BASELINE_FILE,
    EVALUATION_FILE,
    FEATURES,
    GOLDEN_REQUEST_FILE,
    GOLDEN_ROWS_FILE,
    MODEL_ARCHIVE,
    REPORT_FILE,
    SAMPLE_PAYLOAD_FILE,
    SCORES_FILE,
    DataError,
)
from ..tables import labels_of, read_split
from .logic import Holdout, Policy, Tuning, check_baseline, check_classes, choose, evaluation
from .memory import drift_baseline, feature_distributions, golden_rows, sample_payload
from .metrics import auc
from .packed import NoAnswer, PackedModel
from .plots import draw_all
from .report import render

Load = Callable[[Path, str], PackedModel]


class Challenger(NamedTuple):
    """The model that is judged, its scores of the holdout, and how it came to be chosen if there were two."""

    source: str
    archive: Path
    model: PackedModel
    scores: np.ndarray
    tuning: Tuning | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the step; a mistake in its inputs ends it with one sentence, a model below its gate does not end it."""
    options = parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as work:
            run(options, lambda archive, name: PackedModel(archive, folder=Path(work) / name, name=name))
    except NoAnswer as error:
        sys.exit(f"error: {error}; look at inference.py and at the step that trained it")
    except DataError as error:
        sys.exit(f"error: {error}")


def parser() -> argparse.ArgumentParser:
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
    return parser


def run(options: argparse.Namespace, load: Load) -> None:
    """Read, judge, write."""
    table = read_split(options.input_holdout, "holdout")
    labels, rows = labels_of(table), table.select(FEATURES)
    check_classes(labels, "holdout split")
    policy = policy_of(options, rows)
    baseline, description = read_baseline(options.input_baseline, rows=len(labels))
    challenger = pick_challenger(options, rows, load)
    champion, trouble = score_champion(options.input_champion, rows, load)

    holdout = Holdout(labels, challenger.scores, baseline=baseline, champion=champion, champion_trouble=trouble)
    report = evaluation(
        holdout,
        policy=policy,
        source=challenger.source,
        baseline_description=description,
        tuning=challenger.tuning,
        importance=challenger.model.importance(),
    )
    golden = golden_rows(rows, challenger.scores, lambda body: challenger.model.answer(body, "text/csv"))
    train = read_split(options.input_train, "train")
    features = feature_distributions(train, challenger.model.encoding)
    drift = drift_baseline(features, train_rows=len(train), labels=labels, scores=challenger.scores)
    plots = draw_all(holdout, report)
    files = {
        EVALUATION_FILE: as_json(report),
        GOLDEN_ROWS_FILE: as_json(golden),
        # What a transform job can be given.
        GOLDEN_REQUEST_FILE: golden["body"].encode(),
        DRIFT_BASELINE_FILE: as_json(drift),
        SAMPLE_PAYLOAD_FILE: sample_payload(golden["body"]),
        REPORT_FILE: render(report, plots).encode(),
        **{f"plots/{name}.svg": drawing.encode() for name, drawing in plots.items()},
    }
    (options.output_evaluation / "plots").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (options.output_evaluation / name).write_bytes(content)
    options.output_model.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(challenger.archive, options.output_model / MODEL_ARCHIVE)
    tell(report)


def policy_of(options: argparse.Namespace, rows: pa.Table) -> Policy:
    """What the run asks of a challenger."""
    segments = [name for name in options.segments.split(",") if name]
    if unknown := sorted(set(segments) - set(CATEGORICAL)):
        raise DataError(f"segments must be among the columns {list(CATEGORICAL)}, got {unknown}")
    return Policy(
        floors={"auc": options.min_auc, "accuracy": options.min_accuracy},
        max_auc_drop=options.max_auc_drop,
        compare_with_champion=options.compare_with_champion == "true",
        segments={name: rows.column(name).to_pylist() for name in segments},
        seed=options.seed,
    )


def pick_challenger(options: argparse.Namespace, rows: pa.Table, load: Load) -> Challenger:
    """The default model, or the tuned one if that is better on the validation split; the holdout has no say in it."""
    archives = {"default": options.input_model / MODEL_ARCHIVE}
    if options.input_tuned:
        archives["tuned"] = options.input_tuned / MODEL_ARCHIVE
    models = {name: load(archive, f"{name} model") for name, archive in archives.items()}
    scores = {name: model.scores(rows) for name, model in models.items()}
    source, tuning = "default", None
    if options.input_tuned:
        validation_auc = judge_on_validation(options.input_validation, models)
        source = choose(validation_auc)
        tuning = Tuning(default=scores["default"], tuned=scores["tuned"], validation_auc=validation_auc)
    return Challenger(source, archives[source], models[source], scores[source], tuning)


def read_baseline(folder: Path, *, rows: int) -> tuple[np.ndarray, str]:
    """The baseline's scores of the holdout, and what it is."""
    try:
        scores = pq.read_table(folder / SCORES_FILE).column("score").to_numpy()
        description = json.loads((folder / BASELINE_FILE).read_text(encoding="utf-8"))["description"]
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"the baseline cannot be read ({error}); run the baseline step again") from error
    return check_baseline(scores, rows=rows), str(description)


def judge_on_validation(folder: Path, models: dict[str, PackedModel]) -> dict[str, float]:
    """The AUC of each model on the validation split."""
    table = read_split(folder, "validation")
    labels = labels_of(table)
    check_classes(labels, "validation split")
    rows = table.select(FEATURES)
    return {name: auc(labels, model.scores(rows)) for name, model in models.items()}


def score_champion(folder: Path, rows: pa.Table, load: Load) -> tuple[np.ndarray | None, str | None]:
    """The champion's scores, or neither on a first run, or the trouble it has with these rows."""
    if not (folder / MODEL_ARCHIVE).is_file():
        check_first_run(folder)
        return None, None
    try:
        return load(folder / MODEL_ARCHIVE, "champion").scores(rows), None
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
        f'the champion must be {MODEL_ARCHIVE}, or one .json file saying {{"champion": null}} on a first run, '
        f"got {[path.name for path in found]}; check ChampionUri"
    )


def as_json(content: Any) -> bytes:
    """JSON, the same bytes for the same content; NaN is refused."""
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()


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
