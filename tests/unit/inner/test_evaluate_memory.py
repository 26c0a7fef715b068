"""What the registry remembers of a model."""

import io
import json
import tarfile
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline_code.census.evaluate.memory import (
    drift_baseline,
    feature_distributions,
    golden_rows,
    sample_payload,
)
from pipeline_code.platform_jobs.drift.distribution import NumericCounts, ScoreCounts

ENCODING = {"features": ["age", "gain", "job"], "categories": {"job": ["clerk", "smith"]}}


def test_golden_rows_span_the_scores_and_carry_the_models_answers() -> None:
    """From the lowest to the highest score, then one with gaps, with the answers to exactly that body."""
    table = pa.table({"a": [float(at) for at in range(100)], "b": [None if at == 5 else "x" for at in range(100)]})
    golden = golden_rows(table, np.arange(100) / 100, lambda body: [float(line[:2]) for line in body.splitlines()])
    assert [0.0, 14.0, 28.0, 42.0, 56.0, 70.0, 84.0, 99.0, 5.0] == golden["expected"]
    assert golden["body"].endswith("99.0,x\n5.0,\n")
    assert {"content_type", "accept", "body", "expected", "tolerance"} == golden.keys()


def test_golden_rows_of_a_tiny_holdout_are_all_its_rows() -> None:
    """Fewer rows than are wanted, none with a gap."""
    golden = golden_rows(pa.table({"a": [2.0, 1.0]}), np.array([0.9, 0.1]), lambda body: [0.1, 0.9])
    assert "1.0\n2.0\n" == golden["body"]


def test_the_sample_payload_is_a_tar_of_one_csv_and_always_the_same() -> None:
    """Undated and uncompressed: the same body gives the same bytes."""
    payload = sample_payload("1,2\n")
    assert payload == sample_payload("1,2\n")
    with tarfile.open(fileobj=io.BytesIO(payload), mode="r:gz") as archive:
        (member,) = archive.getmembers()
        content = archive.extractfile(member)
        assert content is not None
        assert ("sample.csv", 0, b"1,2\n") == (member.name, member.mtime, content.read())
    assert bytes(4) == payload[4:8]


def test_numbers_are_counted_between_quantiles() -> None:
    """Every value is in one bin, the missing apart; one that many share is alone in its own, and so is the rare tail."""
    ages = [float(at) for at in range(1000)]
    gains = [0.0] * 970 + [100.0] * 30
    table = pa.table({"age": ages, "gain": gains, "job": pa.array(["clerk"] * 1000).dictionary_encode()})
    found = feature_distributions(table, ENCODING)
    age = found["age"]
    assert (21, 22, 1000, 0) == (len(age["edges"]), len(age["counts"]), sum(age["counts"]), age["missing"])
    above = float(np.nextafter(0.0, 1.0))
    assert {"kind": "numeric", "edges": [0.0, above, 100.0], "counts": [0, 970, 0, 30], "missing": 0} == found["gain"]


def test_a_number_that_never_changes_has_a_bin_of_its_own() -> None:
    """What lies below it or above it, however little, is elsewhere."""
    columns = {"age": [0.0] * 50, "gain": [0.1] * 50, "job": pa.array(["clerk"] * 50).dictionary_encode()}
    found = feature_distributions(pa.table(columns), ENCODING)
    assert [[0, 50, 0]] * 2 == [found[name]["counts"] for name in ("age", "gain")]
    live = NumericCounts(json.loads(json.dumps(found["gain"])), frozenset())
    live.add(["0.1", 0.1, "0.09", "0.11", "0.10000001", 1])
    assert ([1, 2, 3, 0], ["below 0.1", "0.1", "above 0.1", "missing"]) == (live.counts, live.names)


def test_a_number_without_values_is_all_missing() -> None:
    """One open bin, empty."""
    columns = {name: pa.array([None, None], pa.float64()) for name in ("age", "gain")}
    table = pa.table({**columns, "job": pa.array([None, None], pa.string()).dictionary_encode()})
    found = feature_distributions(table, ENCODING)
    assert {"kind": "numeric", "edges": [], "counts": [0], "missing": 2} == found["age"]


def test_categories_are_counted_with_the_missing_and_the_unseen() -> None:
    """A category that the model does not know is unseen, one that nobody has counts zero."""
    jobs = pa.chunked_array(
        [pa.array(["smith", None, "pilot"]).dictionary_encode(), pa.array(["smith", "baker"]).dictionary_encode()]
    )
    table = pa.table({"age": [1.0] * 5, "gain": [1.0] * 5, "job": jobs})
    assert {
        "kind": "categorical",
        "counts": {"clerk": 0, "smith": 2},
        "missing": 1,
        "unseen": 2,
    } == feature_distributions(table, ENCODING)["job"]


def predictions_of(scores: np.ndarray) -> dict[str, Any]:
    labels = np.zeros(len(scores), dtype=int)
    found = drift_baseline({}, train_rows=1, labels=labels, scores=scores)["predictions"]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def test_rare_answers_are_spread_over_bins() -> None:
    """However close to 0 all scores lie, no bin holds most of them, and twice the scores are seen to be others."""
    scores = 1e-5 * (1 + np.arange(2000) / 2000)
    predictions = predictions_of(scores)
    assert 100 == max(predictions["counts"])
    live = ScoreCounts(predictions)
    live.add((2 * scores).tolist())
    assert 2000 == live.counts[len(live.baseline) - 2]


def test_an_answer_that_many_get_has_a_bin_of_its_own_with_room_for_rounding() -> None:
    """A tree of few leaves: the last digit may differ on another processor, up to the ends 0 and 1."""
    scores = np.repeat([0.0, 0.25, 0.75, 1.0], 50)
    live = ScoreCounts(predictions_of(scores))
    live.add((scores * (1 - 2e-7)).tolist())
    assert live.baseline == live.counts
    live.add([0.24, 0.26])
    assert live.baseline != live.counts
    assert [50, 50, 50, 50] == [count for count in live.baseline if count]


def test_the_drift_baseline_says_what_it_counted() -> None:
    """Features of the train split; predictions and labels of the holdout, each in one bin."""
    found = drift_baseline({"age": {}}, train_rows=70, labels=np.array([0, 1, 1]), scores=np.array([0.0, 0.51, 1.0]))
    assert ({"train": 70, "holdout": 3}, {"0": 1, "1": 2}) == (found["rows"], found["labels"])
    edges, counts = found["predictions"]["edges"], found["predictions"]["counts"]
    assert (0.0, 1.0, len(edges) - 1, 3) == (edges[0], edges[-1], len(counts), sum(counts))
    assert "features count the train split" in found["description"]
    assert (["age"], ["", "?"]) == (found["columns"], found["missing_values"])
    assert {"<=50K": 0, ">50K": 1} == found["label_values"]
