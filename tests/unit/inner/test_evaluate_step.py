"""The evaluate step over folders, with real packed models."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from pipeline_code.census.contract import CATEGORICAL, FEATURES, LABEL
from pipeline_code.census.evaluate.__main__ import main
from pipeline_code.census.evaluate.packed import PackedModel
from pipeline_code.census.tables import columns_to_matrix, labels_of, read_split

ENCODING = {
    "features": list(FEATURES),
    "categories": {name: ["x", "y"] for name in CATEGORICAL},
    "missing": ["", "?"],
}
# Answers as the census code does but in a way of its own: no booster, and a little less sure of itself.
OTHER_MAKE = """
import json, pathlib
def model_fn(folder): return json.loads((pathlib.Path(folder) / "encoding.json").read_text())
def input_fn(body, content_type): return json.loads(body)["instances"] if "json" in content_type else [body]
def predict_fn(rows, model): return [{score} for row in rows]
def output_fn(prediction, accept): return json.dumps({{"predictions": prediction}}), accept
"""


def people(rows: int, *, seed: int) -> pa.Table:
    """A split: age and gender decide the label between them; some values are missing or never seen."""
    generator = np.random.default_rng(seed)
    words = np.array(["x", "y", "z", None], dtype=object)
    texts = {name: generator.choice(words, rows, p=[0.5, 0.4, 0.05, 0.05]) for name in CATEGORICAL}
    numbers = {name: generator.integers(17, 90, rows).astype(float) for name in FEATURES if name not in CATEGORICAL}
    chance = 0.1 + 0.5 * (numbers["age"] > 50) + 0.3 * (texts["gender"] == "x")
    labels = pa.array((generator.random(rows) < chance).astype(np.int8))
    numbers["hours_per_week"][:20] = np.nan
    columns = {
        name: pa.array(texts[name], pa.string()).dictionary_encode()
        if name in CATEGORICAL
        else pa.array(numbers[name], from_pandas=True)
        for name in FEATURES
    }
    return pa.table({**columns, LABEL: labels})


def write_split(folder: Path, table: pa.Table, *, parts: int = 1) -> Path:
    """A split as preprocess writes it, by several hosts."""
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(table) // parts) or 1
    for part in range(parts):
        pq.write_table(table.slice(part * size, size), folder / f"part-algo-{part + 1}.parquet")
    return folder


def pack(folder: Path, *, rounds: int, train: pa.Table, inference: Path) -> Path:
    """A model.tar.gz as the train step's container leaves it."""
    (folder / "unpacked" / "code").mkdir(parents=True)
    kinds = ["c" if name in CATEGORICAL else "q" for name in FEATURES]
    matrix = xgb.DMatrix(
        columns_to_matrix(train, ENCODING),
        labels_of(train),
        feature_names=list(FEATURES),
        feature_types=kinds,
        enable_categorical=True,
    )
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, matrix, rounds)
    booster.save_model(folder / "unpacked" / "model.json")
    (folder / "unpacked" / "encoding.json").write_text(json.dumps(ENCODING))
    shutil.copyfile(inference, folder / "unpacked" / "code" / "inference.py")
    return repack(folder)


def repack(folder: Path) -> Path:
    """The model.tar.gz of what lies unpacked."""
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "unpacked", arcname=".")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, census_folder: Path) -> Path:
    """All of the step's inputs: splits, a good model, a better tuned one, a weak champion, a coin as baseline."""
    work = tmp_path_factory.mktemp("inputs")
    for seed, name in enumerate(("train", "validation", "holdout")):
        write_split(work / name, people(1500, seed=seed), parts=2)
    train = read_split(work / "train", "train")
    for name, (rounds, rows) in {"model": (1, 150), "tuned": (4, 1500), "champion": (1, 60)}.items():
        pack(work / name, rounds=rounds, train=train.slice(0, rows), inference=census_folder / "inference.py")
    (work / "baseline").mkdir()
    write_baseline(work / "baseline", np.random.default_rng(1).random(1500))
    return work


def write_baseline(folder: Path, scores: np.ndarray) -> None:
    """What the baseline step writes."""
    pq.write_table(pa.table({"score": scores}), folder / "scores.parquet")
    (folder / "baseline.json").write_text('{"description": "a coin"}')


@pytest.fixture
def work(inputs: Path, tmp_path: Path) -> Path:
    """The inputs, to be spoilt."""
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    return tmp_path


Step = Callable[..., dict[str, Any]]


@pytest.fixture
def evaluate() -> Step:
    """Runs the step on a folder of inputs and reads its report."""

    def run(work: Path, *, tuned: bool = False, output: str = "", **changes: str) -> dict[str, Any]:
        names = ["model", "champion", "train", "validation", "holdout", "baseline", *(["tuned"] if tuned else [])]
        settings = {
            **{f"input-{name}": str(work / name) for name in names},
            "output-evaluation": str(work / f"{output}evaluation"),
            "output-model": str(work / f"{output}judged"),
            "min-auc": "0.6",
            "min-accuracy": "0.5",
            "max-auc-drop": "0.005",
            "segments": "gender",
            "compare-with-champion": "true",
            "seed": "17",
            **changes,
        }
        main([f"--{name}={value}" for name, value in settings.items()])
        report: dict[str, Any] = json.loads((work / f"{output}evaluation" / "evaluation.json").read_text())
        return report

    return run


def first_run(work: Path) -> Path:
    """The champion folder of a first run."""
    shutil.rmtree(work / "champion")
    (work / "champion").mkdir()
    (work / "champion" / "9f8e.json").write_text('{"champion": null}')
    return work


def digests(folder: Path) -> dict[str, str]:
    """Every file's hash by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_writes_report_memory_and_the_model_it_judged(evaluate: Step, work: Path) -> None:
    """All files of its two outputs, byte-identical when it is run again."""
    report = evaluate(work, tuned=True)
    plots = {f"plots/{name}.svg" for name in ("roc", "precision_recall", "calibration", "confusion", "importance")}
    files = "evaluation.json golden_rows.json golden_rows.csv drift_baseline.json sample_payload.tar.gz report.html"
    assert {*files.split(), *plots} == digests(work / "evaluation").keys()
    assert ("tuned", True) == (report["challenger"]["source"], report["gate"]["passed"])
    judged = (work / "judged" / "model.tar.gz").read_bytes()
    assert (work / "tuned" / "model.tar.gz").read_bytes() == judged
    evaluate(work, tuned=True, output="again-")
    assert digests(work / "evaluation") == digests(work / "again-evaluation")


def test_the_default_is_judged_where_nothing_is_tuned(evaluate: Step, work: Path) -> None:
    """Then the report has no tuning, and the model is copied as it came."""
    report = evaluate(work)
    assert ("default", None) == (report["challenger"]["source"], report["tuning"])
    assert (work / "model" / "model.tar.gz").read_bytes() == (work / "judged" / "model.tar.gz").read_bytes()
    assert report["champion"]["metrics"]["auc"] < report["binary_classification_metrics"]["auc"]["value"]
    assert max(report["importance"], key=report["importance"].__getitem__) == "age"
    assert ["x", "y", "z"] == [row["value"] for row in report["segments"] if row["value"]]


def test_a_first_run_has_no_champion(evaluate: Step, work: Path) -> None:
    """The placeholder says so, whatever its name."""
    report = evaluate(first_run(work))
    assert (None, True) == (report["champion"], report["gate"]["passed"])


def test_the_memory_belongs_to_the_model(evaluate: Step, work: Path) -> None:
    """Golden rows answered by the packed code itself; features of the train split, labels of the holdout."""
    evaluate(work)
    golden = json.loads((work / "evaluation" / "golden_rows.json").read_text())
    assert golden["body"] == (work / "evaluation" / "golden_rows.csv").read_text()
    model = PackedModel(work / "model" / "model.tar.gz", folder=work / "golden", name="model")
    assert golden["expected"] == model.answer(golden["body"], golden["content_type"])
    drift = json.loads((work / "evaluation" / "drift_baseline.json").read_text())
    assert {"train": 1500, "holdout": 1500} == drift["rows"]
    assert (20, 1500) == (
        drift["features"]["hours_per_week"]["missing"],
        sum(drift["features"]["age"]["counts"]),
    )
    assert drift["features"]["gender"]["unseen"] > 0
    assert 1500 == sum(drift["predictions"]["counts"]) == sum(drift["labels"].values())


def test_the_matrix_answers_as_the_handlers_do(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fast path is taken, and equals the handlers on every single row."""
    model = PackedModel(inputs / "model" / "model.tar.gz", folder=tmp_path, name="model")
    table = read_split(inputs / "holdout", "holdout").select(list(FEATURES))
    scores = model.scores(table)
    assert "" == capsys.readouterr().out
    answers = model.answer(json.dumps({"instances": table.to_pylist()}), "application/json")
    assert scores.tolist() == answers


def test_a_champion_of_another_make_is_asked_request_by_request(
    evaluate: Step, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the matrix and the handlers disagree the handlers are right; columns go by name, those it learned from."""
    code = work / "champion" / "unpacked" / "code" / "inference.py"
    code.write_text(OTHER_MAKE.format(score="row['age'] / 100"))
    encoding = {"features": ["gender", "age"], "categories": {"gender": ["x", "y"]}, "missing": []}
    (work / "champion" / "unpacked" / "encoding.json").write_text(json.dumps(encoding))
    repack(work / "champion")
    report = evaluate(work)
    assert "the champion answers request by request" in capsys.readouterr().out
    assert 0.6 < report["champion"]["metrics"]["auc"] < 0.9


@pytest.mark.parametrize(
    ("file", "content", "trouble"),
    [
        ("code/inference.py", "import nothing_like_it", "the champion cannot be loaded: ModuleNotFoundError"),
        ("code/inference.py", OTHER_MAKE.format(score="float('nan')"), "among its predictions are some that are no"),
        ("code/inference.py", OTHER_MAKE.format(score="row['shoe']"), "the champion does not answer: KeyError: 'shoe'"),
        ("encoding.json", "[]", "the champion cannot be loaded: TypeError"),
        ("model.json", '{"cut', "the champion cannot be loaded: XGBoostError"),
        (
            "encoding.json",
            '{"features": ["shoe"], "categories": {}, "missing": []}',
            "the champion learned from columns that the data no longer holds: ['shoe']",
        ),
    ],
)
def test_a_champion_that_cannot_answer_is_a_reason_to_refuse(
    evaluate: Step, work: Path, file: str, content: str, trouble: str
) -> None:
    """It names the way out, and the way out works."""
    (work / "champion" / "unpacked" / file).write_text(content)
    repack(work / "champion")
    (reason,) = evaluate(work)["gate"]["reasons"]
    assert trouble in reason
    assert "CompareWithChampion=false" in reason
    assert evaluate(work, **{"compare-with-champion": "false"})["gate"]["passed"]


def truncate(path: Path) -> None:
    """Half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(folder: Path, name: str) -> None:
    """A packed model that lacks a part."""
    (folder / "unpacked" / name).unlink()
    repack(folder)


def only_negative(work: Path, split: str) -> None:
    """A split of one class."""
    table = read_split(work / split, split)
    shutil.rmtree(work / split)
    write_split(work / split, table.set_column(len(FEATURES), LABEL, pa.array([0] * len(table), pa.int8())))


def empty(work: Path, split: str) -> None:
    """A split of no rows."""
    shutil.rmtree(work / split)
    write_split(work / split, people(0, seed=1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda work: truncate(work / "model" / "model.tar.gz"),
            "the default model's model.tar.gz is no whole tar.gz (",
        ),
        (
            lambda work: (work / "model" / "model.tar.gz").write_text("hello"),
            "the default model's model.tar.gz is no whole tar.gz (not a gzip file); train it again",
        ),
        (
            lambda work: (work / "model" / "model.tar.gz").unlink(),
            "the default model has no model.tar.gz, only ['unpacked']; look at the step that trained it",
        ),
        (
            lambda work: without(work / "model", "code/inference.py"),
            "the default model's model.tar.gz lacks ['code/inference.py']; it must hold what the train step packs",
        ),
        (lambda work: without(work / "model", "model.json"), "the default model cannot be loaded: XGBoostError"),
        (lambda work: truncate(work / "champion" / "model.tar.gz"), "the champion's model.tar.gz is no whole tar.gz"),
        (
            lambda work: (work / "champion" / "model.tar.gz").rename(work / "champion" / "a.zip"),
            'the champion must be model.tar.gz, or one .json file saying {"champion": null} on a first run, got [',
        ),
        (
            lambda work: (first_run(work) / "champion" / "9f8e.json").write_text('{"champion": "me"}'),
            "on a first run, got ['9f8e.json']; check ChampionUri",
        ),
        (
            lambda work: (first_run(work) / "champion" / "9f8e.json").write_text('{"champion'),
            "on a first run, got ['9f8e.json']; check ChampionUri",
        ),
        (
            lambda work: (first_run(work) / "champion" / "also.json").write_text('{"champion": null}'),
            "on a first run, got ['9f8e.json', 'also.json']; check ChampionUri",
        ),
        (
            lambda work: write_baseline(work / "baseline", np.ones(3)),
            "the baseline has 3 scores for 1500 rows of the holdout; run it on the same holdout",
        ),
        (
            lambda work: write_baseline(work / "baseline", np.full(1500, np.nan)),
            "the baseline's scores must be numbers from 0 to 1; run the baseline step again",
        ),
        (lambda work: truncate(work / "baseline" / "scores.parquet"), "the baseline cannot be read ("),
        (lambda work: truncate(work / "baseline" / "baseline.json"), "the baseline cannot be read ("),
        (lambda work: empty(work, "holdout"), "the holdout split has no rows; give preprocess more data"),
        (lambda work: empty(work, "train"), "the train split has no rows; give preprocess more data"),
        (lambda work: empty(work, "validation"), "the validation split has no rows; give preprocess more data"),
        (
            lambda work: only_negative(work, "holdout"),
            "the holdout split must hold both classes, got 0 positive of 1500 rows; give preprocess data of both",
        ),
        (lambda work: only_negative(work, "validation"), "the validation split must hold both classes, got 0 positive"),
    ],
)
def test_bad_input_ends_with_one_sentence(
    evaluate: Step, work: Path, spoil: Callable[[Path], object], message: str
) -> None:
    """It names what is wrong; nothing is written that could be taken for a result."""
    spoil(work)
    with pytest.raises(SystemExit) as caught:
        evaluate(work, tuned=True)
    sentence = str(caught.value.code)
    assert sentence.startswith("error: ")
    assert message in sentence
    assert "\n" not in sentence
    assert not (work / "evaluation").exists()


def test_segments_must_be_categories(evaluate: Step, work: Path) -> None:
    """A number has too many values to judge one by one."""
    with pytest.raises(SystemExit, match=r"segments must be among the columns \['workclass'.*\], got \['age'\]"):
        evaluate(work, segments="gender,age")


@pytest.mark.parametrize(("setting", "value"), [("min-auc", "nan"), ("min-accuracy", "inf"), ("max-auc-drop", "-0.1")])
def test_a_threshold_that_is_none_registers_nothing(evaluate: Step, work: Path, setting: str, value: str) -> None:
    """The report is written and says why."""
    (reason,) = evaluate(work, **{setting: value})["gate"]["reasons"]
    assert reason.endswith(f"is {float(value)}; give a number from 0 to 1")
