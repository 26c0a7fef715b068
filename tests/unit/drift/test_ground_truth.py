"""Labels that come late find their answers."""

import json

import numpy as np
import pytest

from drift import baseline, labels_of
from pipeline_code.census.evaluate.metrics import auc
from pipeline_code.platform_jobs.drift.ground_truth import GroundTruth
from pipeline_code.platform_jobs.drift.quality import LiveQuality, fall_p_value


def taken(name: str, text: str) -> GroundTruth:
    truth = GroundTruth(baseline().classes)
    truth.add(name, [text.encode()])
    truth.ready()
    return truth


def test_csv_and_json_lines_say_the_same() -> None:
    """Labels as the contract spells them or as 0 and 1; a byte order mark and spaces do not matter."""
    csv = taken("a.csv", "\ufeffinference_id, label\na,>50K\nb, 0\n")
    lines = taken("a.jsonl", '{"inference_id": "a", "label": ">50K"}\n{"inference_id": "b", "label": 0}\n')
    for truth in (csv, lines):
        truth.join([("a", 0, 0.9), ("b", 0, 0.1), ("c", 0, 0.5)], LiveQuality())
        assert ([1, 1], 2, 0) == (truth.joined, truth.offered, truth.corrupt_lines)


@pytest.mark.parametrize(
    ("classes", "joined", "damaged"),
    [({"1": 0, "2": 1}, [1, 1], 1), ({"1": 0, "0": 1}, [1, 1], 1), ({"no": 0, "yes": 1}, [1, 1], 1)],
)
def test_labels_are_what_the_contract_calls_them(classes: dict[str, int], joined: list[int], damaged: int) -> None:
    """Numbers stand for classes only where the contract gives them no meaning of its own."""
    truth = GroundTruth(classes)
    truth.add("a.csv", [b"inference_id,label\na,0\nb,1\nc,2\n"])
    truth.ready()
    truth.join([(id_, 0, 0.5) for id_ in "abc"], LiveQuality())
    assert (joined, damaged) == (truth.joined, truth.corrupt_lines)


def test_the_contracts_numbers_are_not_swapped() -> None:
    """1 and 2 are negative and positive, whatever 1 means elsewhere."""
    truth, quality = GroundTruth({"1": 0, "2": 1}), LiveQuality()
    truth.add("a.csv", [b"inference_id,label\n" + b"".join(b"%d,%d\n" % (at, 1 + at % 2) for at in range(40))])
    truth.ready()
    truth.join([(str(at), 0, 0.9 if at % 2 else 0.1) for at in range(40)], quality)
    assert ([20, 20], 1.0) == (truth.joined, quality.auc)


def test_rows_of_a_request_have_labels_of_their_own() -> None:
    """Counted from 0; without a number the first is meant."""
    truth = taken("a.csv", "inference_id,row,label\na,1,1\na,,0\n")
    truth.join([("a", 0, 0.1), ("a", 1, 0.9), ("a", 2, 0.9)], LiveQuality())
    assert [1, 1] == truth.joined


def test_the_later_label_of_a_row_is_taken() -> None:
    """A correction replaces what it corrects, in another file too."""
    truth = GroundTruth(baseline().classes)
    truth.add("a.csv", [b"inference_id,label\na,0\n"])
    truth.add("b.csv", [b"inference_id,label\na,1\n"])
    truth.ready()
    truth.join([("a", 0, 0.9)], LiveQuality())
    assert ([0, 1], 1) == (truth.joined, truth.offered)


def test_a_label_counts_once() -> None:
    """A request that was captured twice is judged once, within a batch and over batches."""
    truth, quality = labels_of({"a": 1}), LiveQuality()
    truth.join([("a", 0, 0.9), ("a", 0, 0.8)], quality)
    truth.join([("a", 0, 0.7)], quality)
    assert (1, [0, 1]) == (quality.rows, truth.joined)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "inference_id,label\na,maybe\n", "a label is none of the model's"),
        ("a.csv", "inference_id,label\n,1\n", "a label has no inference_id"),
        ("a.csv", "inference_id,label,row\na,1,x\n", "a label's row is no number"),
        ("a.csv", "id,truth\na,1\n", "a line of ground truth is neither CSV under a header nor a JSON object"),
        ("a.csv", "inference_id,label\na\n", "a line of ground truth is neither CSV under a header nor a JSON object"),
        ("a.jsonl", "[1]\n", "a line of ground truth is neither CSV under a header nor a JSON object"),
        ("a.jsonl", "{\n", "a line of ground truth is neither CSV under a header nor a JSON object"),
        ("a.jsonl", '{"inference_id": "a", "label": 1, "row": 1e999}\n', "a label's row is no number"),
        ("a.jsonl", '{"inference_id": "a", "label": [1]}\n', "a label is none of the model's"),
    ],
)
def test_damaged_labels_are_left_out_and_counted(name: str, text: str, reason: str) -> None:
    """Each kind of damage has its words, and no label is made of it."""
    truth = taken(name, text)
    assert (0, 1, {reason: 1}) == (truth.offered, truth.corrupt_lines, dict(truth.reasons))


@pytest.mark.parametrize("template", ["inference_id,label\na,{}\n", "inference_id,label,{}\n"], ids=["line", "header"])
def test_fields_that_the_reader_refuses_are_left_out_and_counted(template: str) -> None:
    """A field of CSV longer than the reader takes is damage, no failure of the job."""
    truth = taken("a.csv", template.format("1" * 200_000))
    told = {"a line of ground truth is neither CSV under a header nor a JSON object": 1}
    assert (0, told) == (truth.offered, dict(truth.reasons))


def test_an_id_that_is_no_unicode_is_an_id() -> None:
    """JSON can spell half a character, which no encoding can: it meets its answer like any other."""
    truth = taken("a.jsonl", '{"inference_id": "\\ud800", "label": 1}\n')
    truth.join([("\ud800", 0, 0.9)], LiveQuality())
    assert ([0, 1], 0) == (truth.joined, truth.corrupt_lines)


def test_binary_rubbish_is_no_label() -> None:
    """Bytes that are no text are counted."""
    truth = GroundTruth({})
    truth.add("a.jsonl", [b"\xff\xfe\n" + json.dumps({"inference_id": "a", "label": "1"}).encode()])
    truth.ready()
    assert (1, 1) == (truth.offered, truth.corrupt_lines)


def test_the_live_auc_is_the_evaluations() -> None:
    """To the width of a bin, and the accuracy exactly."""
    chance = np.random.default_rng(3)
    labels = (chance.random(20_000) < 0.3).astype(np.int8)
    scores = np.clip(chance.normal(0.4 + 0.2 * labels, 0.15), 0, 1)
    live = LiveQuality()
    for part in np.array_split(np.arange(20_000), 7):
        live.add(labels[part], scores[part])
    assert live.auc == pytest.approx(auc(labels, scores), abs=1e-4)
    assert live.accuracy == float(((scores > 0.5) == (labels == 1)).mean())


def test_the_live_auc_of_rare_events_is_the_evaluations() -> None:
    """Where scores lie close to 0, or to 1, they are told apart as finely as in the middle."""
    chance = np.random.default_rng(6)
    labels = (chance.random(200_000) < 0.002).astype(np.int8)
    scores = 1 / (1 + np.exp(11 - chance.normal(1.8 * labels, 1)))
    for positives, given in ((labels, scores), (1 - labels, 1 - scores)):
        live = LiveQuality()
        live.add(positives, given)
        assert live.auc == pytest.approx(auc(positives, given), abs=1e-4)


def test_the_ends_of_all_scores_are_counted() -> None:
    """Certainty of either kind has no logit, and is the least and the greatest score."""
    live = LiveQuality()
    live.add(np.repeat(np.array([0, 1, 1], dtype=np.int8), 10), np.repeat([0.0, 1e-300, 1.0], 10))
    assert (30, 0.75) == (live.rows, live.auc)


def test_the_auc_deviation_is_that_of_samples() -> None:
    """Hanley and McNeil's formula against what drawing again and again shows."""
    chance = np.random.default_rng(4)
    found, told = [], []
    for _ in range(300):
        labels = (chance.random(400) < 0.3).astype(np.int8)
        live = LiveQuality()
        live.add(labels, 1 / (1 + np.exp(-chance.normal(1.5 * labels, 1))))
        found.append(live.auc)
        told.append(live.auc_deviation)
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.25)  # type: ignore[arg-type]


def test_too_few_of_a_class_have_no_auc() -> None:
    """Nine positives say nothing."""
    live = LiveQuality()
    live.add(np.array([1] * 9 + [0] * 500, dtype=np.int8), np.full(509, 0.5))
    assert (None, None) == (live.auc, live.auc_deviation)


def test_a_fall_is_judged_against_both_samples_noise() -> None:
    """Two standard deviations are about 2.3 %, no fall is at least one half, certainty is certain."""
    assert fall_p_value(0.02, 0.006, 0.008) == pytest.approx(0.0228, abs=1e-3)
    assert 0.5 <= fall_p_value(-0.01, 0.01, 0.01)
    assert (0.0, 1.0) == (fall_p_value(0.1, 0.0), fall_p_value(0.0, 0.0))
