"""Reading splits, fitting, and going on after an interruption."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st

from pipeline_code.census.contract import CATEGORICAL, FEATURES, LABEL, DataError
from pipeline_code.census.inference import encode
from pipeline_code.census.preprocess.logic import EXAMPLES, encoding_of
from pipeline_code.census.tables import columns_to_matrix, labels_of, read_encoding, read_split
from pipeline_code.census.train.checkpoints import FolderCheckpoints, fingerprint
from pipeline_code.census.train.hyperparameters import parser
from pipeline_code.census.train.logic import CHECKPOINT_ROUNDS, Fitted, fit, to_dmatrix
from snapshots import census, preprocess, write_snapshot

ROOT = Path(__file__).resolve().parents[3]
HYPERPARAMETERS: dict[str, Any] = {
    "num_round": 200,
    "early_stopping_rounds": 20,
    "max_depth": 4,
    "eta": 0.3,
    "subsample": 1.0,
    "min_child_weight": 1.0,
}
Splits = tuple[xgb.QuantileDMatrix, xgb.QuantileDMatrix]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The census data, preprocessed."""
    folder = tmp_path_factory.mktemp("prepared")
    return preprocess(write_snapshot(folder / "snapshot", census()), folder)


def splits(prepared: Path) -> Splits:
    """The train and the validation split as the booster reads them."""
    encoding = read_encoding(prepared / "encoding")
    train = to_dmatrix(read_split(prepared / "train", "train"), "train", encoding=encoding)
    validation = read_split(prepared / "validation", "validation")
    return train, to_dmatrix(validation, "validation", encoding=encoding, reference=train)


def examples(labels: list[int], **columns: list[Any]) -> pa.Table:
    """A split with these columns, all else missing."""
    empty: dict[str, list[Any]] = {name: [None] * len(labels) for name in FEATURES}
    return pa.table({**empty, **columns, LABEL: labels}, schema=EXAMPLES)


class Memory:
    """Checkpoints that end the training when the given number of them is kept."""

    def __init__(self, *, lives: int) -> None:
        self.state: bytes | None = None
        self.lives = lives

    def load(self) -> bytes | None:
        """The state kept last."""
        return self.state

    def save(self, state: bytes) -> None:
        """Keep the state, then be gone."""
        self.state = state
        self.lives -= 1
        if self.lives == 0:
            raise InterruptedError


def model(fitted: Fitted) -> tuple[bytes, float]:
    """What a training gives."""
    return bytes(fitted.booster.save_raw("json")), fitted.score.auc


TEXT = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["a", " a", "?", "", "ä"]))
NUMBER = st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))


@given(
    texts=st.lists(TEXT, min_size=1, max_size=8),
    numbers=st.lists(NUMBER, min_size=8, max_size=8),
    known=st.sets(st.one_of(st.text(max_size=4), st.sampled_from(["a", "?", "ä "]))),
)
def test_training_and_requests_are_encoded_alike(
    texts: list[str | None], numbers: list[float | None], known: set[str]
) -> None:
    """Whatever the value, a column read from a split and a row of a request become the same number."""
    encoding = encoding_of(dict.fromkeys(CATEGORICAL, known))
    columns: dict[str, list[Any]] = {name: texts if name in CATEGORICAL else numbers[: len(texts)] for name in FEATURES}
    table = examples([0] * len(texts), **columns)
    rows = [[row[name] for name in FEATURES] for row in table.to_pylist()]
    np.testing.assert_array_equal(encode(rows, encoding), columns_to_matrix(table, encoding))


def test_every_category_that_training_knows_has_its_own_code(prepared: Path) -> None:
    """Codes are positions in the encoding; what is left is missing values."""
    encoding = read_encoding(prepared / "encoding")
    table = read_split(prepared / "train", "train")
    matrix = columns_to_matrix(table, encoding)
    assert ("float32", (table.num_rows, len(FEATURES))) == (str(matrix.dtype), matrix.shape)
    for at, name in enumerate(FEATURES):
        assert table.column(name).null_count == np.isnan(matrix[:, at]).sum()
        if name in CATEGORICAL:
            codes = matrix[:, at][~np.isnan(matrix[:, at])]
            assert len(encoding["categories"][name]) == len(set(codes.tolist())) == codes.max() + 1
    assert ("int8", {0, 1}) == (str(labels_of(table).dtype), set(labels_of(table).tolist()))


def test_the_parts_of_all_hosts_are_read_in_name_order(tmp_path: Path) -> None:
    """Rows one behind the other, whatever dictionary each part has; categories united and sorted."""
    for host, known in (("b", ["y", "x"]), ("a", ["z", None]), ("c", [])):
        part = examples([0] * len(known), workclass=known)
        pq.write_table(part, tmp_path / f"part-{host}.parquet")
        encoding = encoding_of({name: {text for text in known if text} for name in CATEGORICAL})
        (tmp_path / f"part-{host}.json").write_text(json.dumps(encoding))
    table = read_split(tmp_path, "train")
    encoding = read_encoding(tmp_path)
    assert ["z", None, "y", "x"] == table.column("workclass").to_pylist()
    assert ["x", "y", "z"] == encoding["categories"]["workclass"]
    codes = columns_to_matrix(table, encoding)[:, FEATURES.index("workclass")]
    np.testing.assert_array_equal([2, np.nan, 1, 0], codes)


def test_what_was_not_prepared_is_refused(tmp_path: Path) -> None:
    """No part, or none with rows, in one sentence."""
    with pytest.raises(DataError, match="the train split has no rows; give preprocess more data"):
        read_split(tmp_path, "train")
    pq.write_table(examples([]), tmp_path / "part-a.parquet")
    with pytest.raises(DataError, match="the train split has no rows"):
        read_split(tmp_path, "train")
    with pytest.raises(DataError, match=r"the encoding has no part-\*.json, only \['part-a.parquet'\]"):
        read_encoding(tmp_path)


def test_one_class_is_refused() -> None:
    """Nothing can be learned from it."""
    encoding = encoding_of({name: set() for name in CATEGORICAL})
    with pytest.raises(DataError, match="the train split has 3 rows, 3 of them '>50K'; a classifier needs both"):
        to_dmatrix(examples([1, 1, 1]), "train", encoding=encoding)


def test_training_stops_at_its_best_round(prepared: Path) -> None:
    """Rounds behind the lowest log loss are dropped, and the score is that of the model kept."""
    lines: list[str] = []
    train, validation = splits(prepared)
    booster, score = fit(train, validation, **HYPERPARAMETERS, report=lines.append)
    kept = booster.num_boosted_rounds()
    assert 20 < kept < HYPERPARAMETERS["num_round"]
    assert (kept + HYPERPARAMETERS["early_stopping_rounds"]) // CHECKPOINT_ROUNDS == len(lines)
    _, auc, logloss = (part.rpartition(":")[2] for part in booster.eval(validation).split())
    assert (float(auc), float(logloss)) == pytest.approx(score)


@pytest.mark.long
@pytest.mark.parametrize("subsample", [1.0, 0.8])
def test_interrupted_training_gives_the_same_model(prepared: Path, subsample: float) -> None:
    """Wherever it is interrupted, and however often; what stops training early is remembered, too."""
    settings = {**HYPERPARAMETERS, "subsample": subsample}
    whole = model(fit(*splits(prepared), **settings))
    for lives in (1, 2, 3):
        memory = Memory(lives=lives)
        interruptions = 0
        while True:
            try:
                fitted = fit(*splits(prepared), **settings, checkpoints=memory)
                break
            except InterruptedError:
                interruptions += 1
                memory.lives = lives
        assert interruptions > 1
        assert whole == model(fitted)


@pytest.mark.long
def test_subsampling_matters(prepared: Path) -> None:
    """Rows that are not drawn teach nothing."""
    assert model(fit(*splits(prepared), **HYPERPARAMETERS)) != model(
        fit(*splits(prepared), **{**HYPERPARAMETERS, "subsample": 0.5})
    )


def test_a_checkpoint_is_found_by_the_training_that_wrote_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others in the folder are ignored with one line, however many they are."""
    for name in ("a", "b", "c"):
        FolderCheckpoints(tmp_path / "new", fingerprint=name).save(name.encode())
    assert b"b" == FolderCheckpoints(tmp_path / "new", fingerprint="b").load()
    assert "ignored 2 checkpoints of other data, code or hyperparameters\n" == capsys.readouterr().out
    assert FolderCheckpoints(tmp_path / "new", fingerprint="d").load() is None
    assert 1 == capsys.readouterr().out.count("\n")
    assert FolderCheckpoints(tmp_path / "none", fingerprint="a").load() is None
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize("spoil", [lambda text: text[:-1], lambda text: b"", lambda text: b"x" + text])
def test_a_corrupt_checkpoint_is_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any) -> None:
    """Training begins anew and says so in one line."""
    checkpoints = FolderCheckpoints(tmp_path, fingerprint="a")
    checkpoints.save(b"state")
    checkpoints.path.write_bytes(spoil(checkpoints.path.read_bytes()))
    assert checkpoints.load() is None
    assert "ignored the corrupt checkpoint a.checkpoint\n" == capsys.readouterr().out


def test_a_checkpoint_that_was_not_finished_is_no_checkpoint(tmp_path: Path) -> None:
    """Only a whole one takes the place of the one before."""
    checkpoints = FolderCheckpoints(tmp_path, fingerprint="a")
    checkpoints.save(b"first")
    (tmp_path / "a.sagemaker-ignore").write_bytes(b"half of the sec")
    assert b"first" == checkpoints.load()
    checkpoints.save(b"second")
    assert ["a.checkpoint"] == [path.name for path in tmp_path.iterdir()]


def test_the_fingerprint_tells_trainings_apart(tmp_path: Path) -> None:
    """By hyperparameters and by data; equal ones agree."""
    for name in ("one", "same", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-a.parquet").write_text("other" if name == "other" else "data")
    prints = [
        fingerprint(hyperparameters, [tmp_path / name])
        for hyperparameters, name in (
            ({"eta": 1}, "one"),
            ({"eta": 1}, "same"),
            ({"eta": 2}, "one"),
            ({"eta": 1}, "other"),
        )
    ]
    assert prints[0] == prints[1]
    assert 3 == len(set(prints))


def train(prepared: Path, model_dir: Path, checkpoints: Path | None = None, **changes: Any) -> "subprocess.Popen[str]":
    """Start the step as script mode does."""
    channels = {f"SM_CHANNEL_{name.upper()}": str(prepared / name) for name in ("train", "validation", "encoding")}
    environment = {**os.environ, **channels, "SM_MODEL_DIR": str(model_dir), "OMP_WAIT_POLICY": "PASSIVE"}
    if checkpoints:
        environment["CHECKPOINT_DIR"] = str(checkpoints)
    settings = [text for name, value in {**HYPERPARAMETERS, **changes}.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "pipeline_code.census.train", *settings]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("subsample", [1.0, 0.8])
def test_a_killed_training_goes_on_to_the_same_model(prepared: Path, tmp_path: Path, subsample: float) -> None:
    """The process is killed after some rounds; the next one resumes, and every file of the model is the same."""
    slow: dict[str, Any] = {"subsample": subsample, "max_depth": 10, "eta": 0.01, "num_round": 80}
    whole = train(prepared, tmp_path / "whole", **slow)
    printed, errors = whole.communicate()
    assert 0 == whole.returncode, errors
    killed = train(prepared, tmp_path / "model", tmp_path / "checkpoints", **slow)
    while not list(tmp_path.glob("checkpoints/*.checkpoint")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert -signal.SIGKILL == killed.returncode
    resumed = train(prepared, tmp_path / "model", tmp_path / "checkpoints", **slow)
    printed_again, errors = resumed.communicate()
    assert 0 == resumed.returncode, errors
    assert printed_again.startswith("resumed after round ")
    assert printed.splitlines()[-2:] == printed_again.splitlines()[-2:]
    assert files(tmp_path / "whole") == files(tmp_path / "model")


def test_the_step_packs_a_model_and_prints_its_metric(prepared: Path, tmp_path: Path) -> None:
    """Model, merged encoding and serving code; the last line is what a tuner reads."""
    process = train(prepared, tmp_path, num_round=3)
    printed, errors = process.communicate()
    assert 0 == process.returncode, errors
    assert {"model.json", "encoding.json", "code/inference.py"} == files(tmp_path).keys()
    assert read_encoding(prepared / "encoding") == json.loads((tmp_path / "encoding.json").read_text())
    # AWS's own expression for this image's metric: https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html
    found = re.fullmatch(r".*\[[0-9]+\].*#011validation-auc:([-+]?[0-9]*\.?[0-9]+)", printed.splitlines()[-1])
    assert found is not None
    assert 0.8 < float(found[1]) < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eta": "0"}, "argument --eta: must be a number from 1e-06 to 1, got '0'"),
        ({"eta": "nan"}, "argument --eta: must be a number from 1e-06 to 1, got 'nan'"),
        ({"max_depth": "6.5"}, "argument --max_depth: must be a whole number from 1 to 20, got '6.5'"),
        ({"num_round": "-3"}, "argument --num_round: must be a whole number from 1 to 100000, got '-3'"),
        ({"subsample": "1.1"}, "argument --subsample: must be a number from 0.01 to 1, got '1.1'"),
        ({"min_child_weight": "few"}, "argument --min_child_weight: must be a number from 0 to 1000000.0, got 'few'"),
        ({"device": "tpu"}, "argument --device: must be cpu or cuda, got 'tpu'"),
        ({"gamma": "1"}, "unrecognized arguments: --gamma 1"),
    ],
)
def test_a_bad_hyperparameter_is_one_sentence(
    changes: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before any data is read."""
    settings = {**HYPERPARAMETERS, **changes}
    with pytest.raises(SystemExit):
        parser(None).parse_args([text for name, value in settings.items() for text in (f"--{name}", str(value))])
    assert f"train: error: {message}\n" == capsys.readouterr().err


def test_cuda_is_not_replaced_silently(capsys: pytest.CaptureFixture[str]) -> None:
    """Where XGBoost has no GPU it would train on the CPU; the step refuses instead."""
    if xgb.build_info()["USE_CUDA"]:
        probe = json.loads(xgb.Booster({"device": "cuda", "num_feature": 1}).save_config())
        assert probe["learner"]["generic_param"]["device"].startswith("cuda")
        return
    settings = [text for name, value in HYPERPARAMETERS.items() for text in (f"--{name}", str(value))]
    with pytest.raises(SystemExit):
        parser(None).parse_args([*settings, "--device", "cuda"])
    assert "train: error: argument --device: cuda needs a GPU" in capsys.readouterr().err


def test_a_mistake_in_the_data_ends_the_step_with_one_sentence(prepared: Path, tmp_path: Path) -> None:
    """No traceback, a non-zero exit code."""
    for name in ("train", "validation", "encoding"):
        (tmp_path / name).symlink_to(prepared / name)
    (tmp_path / "validation").unlink()
    (tmp_path / "validation").mkdir()
    process = train(tmp_path, tmp_path / "model")
    _, errors = process.communicate()
    assert (1, "error: the validation split has no rows; give preprocess more data\n") == (process.returncode, errors)
