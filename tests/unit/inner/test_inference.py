"""How the model answers requests."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_pipeline_local.sagemaker import serving
from pipeline_code.census import inference

ENCODING = {"features": ["age", "job"], "categories": {"job": ["clerk", "smith"]}, "missing": ["", "?"]}
CSV = "text/csv"


class Served:
    """A folder's model, served by a process of its own."""

    def __init__(self, folder: Path) -> None:
        port = folder / "port"
        command = [sys.executable, "-P", serving.__file__, "--model-dir", str(folder), "--port-file", str(port)]
        environment = {**os.environ, "SAGEMAKER_PROGRAM": "inference.py"}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not port.exists() and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.05)
        self._connection = http.client.HTTPConnection("127.0.0.1", int(port.read_text()), timeout=30)

    def ask(self, body: bytes, content_type: str, accept: str) -> tuple[int, str]:
        """Status and text of an answer."""
        headers = {"Content-Type": content_type, "Accept": accept}
        self._connection.request("POST", "/invocations", body, {name: text for name, text in headers.items() if text})
        answered = self._connection.getresponse()
        return answered.status, answered.read().decode()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> inference.Model:
    """A model of two columns, loaded from a folder as an endpoint loads it."""
    folder = tmp_path_factory.mktemp("model")
    people = [(age, job) for age in range(60) for job in ("clerk", "smith", None)]
    matrix = inference.to_matrix(people, ENCODING)
    matrix.set_label([int(age > 30 and job == "smith") for age, job in people])
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 3}, matrix, num_boost_round=5)
    booster.save_model(folder / inference.MODEL_FILE)
    (folder / inference.ENCODING_FILE).write_text(json.dumps(ENCODING))
    return inference.model_fn(str(folder))


def answer(model: inference.Model, body: str, content_type: str = CSV) -> list[float]:
    """A request's way through all handlers."""
    prediction = inference.predict_fn(inference.input_fn(body, content_type), model)
    text, kind = inference.output_fn(prediction, "application/json")
    assert kind == "application/json"
    predictions: list[float] = json.loads(text)["predictions"]
    return predictions


def test_csv_and_json_get_the_same_answer(model: inference.Model) -> None:
    """Two spellings of two rows, one prediction each."""
    body = json.dumps({"instances": [{"age": 50, "job": "smith"}, {"job": "clerk", "age": 20}]})
    answers = answer(model, "50,smith\n20,clerk\n")
    assert answers == answer(model, body, "application/json; charset=utf-8")
    assert answers[0] > answers[1]


def test_missing_and_unseen_values_are_missing_to_the_model(model: inference.Model) -> None:
    """Empty, `?`, spaces, an absent key and a category that training never saw are one and the same."""
    answers = answer(model, "50,?\n50,\n50,  \n50,astronaut\n 50 , ? \n")
    assert answers == answer(model, '{"instances": [{"age": 50}]}', "application/json") * 5
    assert np.isnan(inference.encode([("", "astronaut")], ENCODING)).all()


def test_bytes_are_accepted(model: inference.Model) -> None:
    """Servers hand over bytes or text."""
    assert answer(model, "50,smith") == answer(model, b"50,smith")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        ("", CSV, "the request holds no rows"),
        ("age,job\n1,smith", CSV, "row 1 is a header: leave it out"),
        ("1,smith\n\n2,smith", CSV, "row 2 is an empty line: leave it out"),
        ("1,2,3", CSV, r"row 1 must hold the 2 columns \['age', 'job'\], got 3: \['1', '2', '3'\]"),
        ("1,smith\nold,smith", CSV, "row 2: age must be a number, got 'old'"),
        ("nan,smith", CSV, "row 1: age must be a number, got 'nan'"),
        ("inf,smith", CSV, "row 1: age must be a number, got 'inf'"),
        ('{"instances": [{"age": NaN}]}', "application/json", "row 1: age must be a number, got nan"),
        ('{"instances": [3]}', "application/json", "row 1 must hold the 2 columns .*, got 3"),
        ("[" * 100_000, "application/json", 'must be a JSON object {"instances"'),
        ("{", "application/json", 'must be a JSON object {"instances"'),
        ('{"instances": 3}', "application/json", "instances must be a list, got int"),
        ('{"instances": [{"aeg": 3}]}', "application/json", r"row 1 has unknown columns \['aeg'\]"),
        ('{"instances": [{"age": true}]}', "application/json", "row 1: age must be a number, got True"),
        ('{"instances": [{"age": 1e39}]}', "application/json", "row 1: age must be a number, got 1e[+]39"),
        ('{"instances": [{"age": 1%s}]}' % ("0" * 400), "application/json", "row 1: age must be a number, got 1000"),
        ('{"instances": [{"age": 1, "age": 2}]}', "application/json", "'age' is given more than once"),
        ('{"instances": [], "instances": [{"age": 2}]}', "application/json", "'instances' is given more than once"),
        ("1_000,smith", CSV, "row 1: age must be a number, got '1_000'"),
        ('{"instances": [{"age": "\u0661"}]}', "application/json", "row 1: age must be a number, got '.*u0661'"),
        ('{"instances": [{"job": ["smith"]}]}', "application/json", r"row 1: job must be text, got \['smith'\]"),
        ("1,smith", "image/png", "content type must be text/csv or application/json, got 'image/png'"),
        ("1,smith", "", "content type must be text/csv or application/json, got ''"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    model: inference.Model, body: str, content_type: str, message: str
) -> None:
    """The sentence names row and column, and the client is to blame (400)."""
    with pytest.raises(inference.RequestError, match=message) as caught:
        answer(model, body, content_type)
    assert 400 == caught.value.status_code


def test_a_body_that_is_no_text_is_refused() -> None:
    """Bytes that are not UTF-8 are the client's mistake, and so are no bytes at all."""
    with pytest.raises(inference.RequestError, match="the body must be text in UTF-8, got another byte at 2"):
        inference.input_fn(b"1,\xff", CSV)
    for nothing in (None, b"", bytearray()):
        with pytest.raises(inference.RequestError, match="the request holds no rows"):
            inference.input_fn(nothing, CSV)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("1," * 500_000, CSV),
        ("x" * 1_000_000 + ",smith", CSV),
        ('{"instances": [{"%s": 1}]}' % ("\u00e9" * 1_000_000), "application/json"),
        ('{"instances": [{"age": ' + "[" * 900 + "]" * 900 + "}]}", "application/json"),
        ("{" + ",".join(f'"{at % 200_000}": 1' for at in range(200_001)) + "}", "application/json"),
    ],
    ids=["columns", "field", "name", "depth", "names"],
)
def test_the_sentence_stays_short(model: inference.Model, body: str, content_type: str) -> None:
    """However large or deep the request, the sentence about it fits a line of a log, in plain characters."""
    with pytest.raises(inference.RequestError) as caught:
        answer(model, body, content_type)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isascii()
    assert "Bad Request" == caught.value.phrase


@pytest.fixture(scope="module")
def served(model: inference.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The model behind the server that local endpoints use."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "code").mkdir()
    shutil.copy(inference.__file__, folder / "code" / "inference.py")
    model.booster.save_model(folder / inference.MODEL_FILE)
    (folder / inference.ENCODING_FILE).write_text(json.dumps(ENCODING))
    served = Served(folder)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.wait()


@settings(max_examples=150, deadline=None)
@given(
    body=st.binary(max_size=60) | st.text(alphabet='0123456789,."-einfa\n\r{}[]: x\u00e9', max_size=40).map(str.encode),
    content_type=st.sampled_from(["text/csv", "text/csv; charset=x", "application/json", "image/png", ""]),
    accept=st.sampled_from(["application/json", "text/csv", "*/*", "image/png", ""]),
)
def test_no_request_is_the_servers_fault(served: Served, body: bytes, content_type: str, accept: str) -> None:
    """Whatever bytes come, over HTTP, are answered with 200 or refused with 400 and a sentence; the server lives."""
    status, said = served.ask(body, content_type, accept)
    assert status in (200, 400), said
    assert said
    assert served.process.poll() is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["age", "job", "x"]), values),
    max_leaves=6,
)


@given(instances=st.lists(JSON, max_size=3))
def test_any_json_is_answered_or_refused(model: inference.Model, instances: list[object]) -> None:
    """A probability for each row or a sentence, never another error."""
    with contextlib.suppress(inference.RequestError):
        answers = answer(model, json.dumps({"instances": instances}), "application/json")
        assert len(instances) == len(answers)
        assert all(0 < probability < 1 for probability in answers)


@given(body=st.text(max_size=20))
def test_any_csv_is_answered_or_refused(model: inference.Model, body: str) -> None:
    """The same for text."""
    with contextlib.suppress(inference.RequestError):
        assert answer(model, body)


def test_answers_come_as_json_or_as_lines() -> None:
    """JSON unless text/csv is asked for: then one number a line, as a batch of records is answered."""
    predictions = np.array([0.5, 0.25], dtype=np.float32)
    for accept in ("application/json", "*/*", "", "application/json; charset=utf-8, text/csv"):
        assert ('{"predictions": [0.5, 0.25]}', "application/json") == inference.output_fn(predictions, accept)
    assert ("0.5\n0.25", "text/csv") == inference.output_fn(predictions, "text/csv")
    with pytest.raises(inference.RequestError, match="accept must be application/json or text/csv, got 'image/png'"):
        inference.output_fn(predictions, "image/png")


def test_it_stands_alone(census_folder: Path) -> None:
    """The file imports nothing of the project, for it travels in the model."""
    assert "from ." not in (census_folder / "inference.py").read_text()
