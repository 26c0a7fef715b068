"""Judge model.tar.gz on the holdout through its own inference.py; write `evaluation.json` and `golden_rows.json`."""

import argparse
import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq

from ..contract import EVALUATION_FILE, FEATURES, GOLDEN_ROWS_FILE, HOLDOUT_FILE, LABEL, TRAIN_FILE, DataError
from .logic import Row, evaluation, fit_baseline, golden_rows, to_csv


def main() -> None:
    """Run the step; a mistake in the data ends it with one sentence, a model below its gate does not end it."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("--input-model", type=Path, required=True, help="folder with model.tar.gz")
    parser.add_argument("--input-train", type=Path, required=True)
    parser.add_argument("--input-holdout", type=Path, required=True)
    parser.add_argument("--output-evaluation", type=Path, required=True)
    parser.add_argument("--min-auc", type=float, required=True)
    parser.add_argument("--min-accuracy", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True, help="of the bootstrap")
    options = parser.parse_args()
    train_rows, train_labels = read_examples(options.input_train / TRAIN_FILE)
    rows, labels = read_examples(options.input_holdout / HOLDOUT_FILE)
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(options.input_model / "model.tar.gz", folder)
        inference = load_module(Path(folder) / "code" / "inference.py")
        model = inference.model_fn(folder)

    def answer(body: str) -> list[float]:
        prediction = inference.predict_fn(inference.input_fn(body, "text/csv"), model)
        predictions: list[float] = json.loads(inference.output_fn(prediction, "application/json")[0])["predictions"]
        return predictions

    scores = np.array(answer(to_csv(rows)))
    baseline = fit_baseline(inference.encode(train_rows, model.encoding), train_labels, model.encoding)
    try:
        report = evaluation(
            labels,
            scores,
            baseline_scores=baseline(inference.encode(rows, model.encoding)),
            floors={"auc": options.min_auc, "accuracy": options.min_accuracy},
            seed=options.seed,
        )
    except DataError as error:
        sys.exit(f"error: {error}")
    options.output_evaluation.mkdir(parents=True, exist_ok=True)
    for name, content in ((EVALUATION_FILE, report), (GOLDEN_ROWS_FILE, golden_rows(rows, scores, answer))):
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        (options.output_evaluation / name).write_text(text, encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("baseline", "gate", "dataset")}, indent=1))
    for name, metric in report["binary_classification_metrics"].items():
        print(f"{name}: {metric}")


def read_examples(path: Path) -> tuple[list[Row], np.ndarray]:
    """The rows of a split, and their labels."""
    table = pq.read_table(path)
    rows = list(zip(*(table.column(name).to_pylist() for name in FEATURES), strict=True))
    return rows, np.array(table.column(LABEL).to_pylist())


def load_module(path: Path) -> ModuleType:
    """The module at a path outside the import path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
