"""A window against its baseline: what moved, what did not, what came true, and what is said of it."""

import json
import math
import random
from datetime import timedelta
from typing import Any

import pytest

from drift import DAY, END, JOBS, POLICY, Row, baseline, captured, documents, labels_of, line, measured, rows, span
from pipeline_code.platform_jobs.drift.baseline import baseline_of
from pipeline_code.platform_jobs.drift.distribution import CategoryCounts, NumericCounts, ScoreCounts
from pipeline_code.platform_jobs.drift.measurement import message, summary
from pipeline_code.platform_jobs.drift.report import render


def by_name(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["features"] if each["name"] == name)


def judged(
    count: int, *, good: bool, older: float = 0, at: Any = END - timedelta(hours=1), positives: float = 0.25
) -> tuple[list[str], dict[str, str]]:
    """Captured lines and the labels of all of them, which the scores tell well or not at all."""
    chance = random.Random(9)
    lines, known = [], {}
    for number, row in enumerate(rows(count, older=older)):
        truth = chance.random() < positives
        score = min(max(chance.gauss(0.75 if truth else 0.25, 0.15), 0), 1) if good else chance.random()
        lines.append(line([row], [score], id_=f"q{number}", at=at))
        known[f"q{number}"] = ">50K" if truth else "<=50K"
    return lines, known


def test_the_same_people_have_not_moved() -> None:
    """Another sample of what the model learned from."""
    found = measured(captured(rows(2000)))
    assert ("measured", "nothing") == (found["status"], found["decision"]["choice"])
    assert (
        "Nothing moved among 2000 rows captured from 2026-11-26T08:00:00Z to 2026-11-27T08:00:00Z" == found["sentence"]
    )


def test_older_people_have_moved() -> None:
    """The feature is named with its numbers, and a new training proposed."""
    found = measured(captured(rows(2000, older=8)))
    age, job = by_name(found, "age"), by_name(found, "job")
    assert (True, False) == (age["moved"], job["moved"])
    assert age["psi"] > 0.2
    assert age["p_adjusted"] < 1e-6
    assert 0.2 < age["distance"] < 0.5
    assert "retrain" == found["decision"]["choice"]
    told = summary(found, report_uri="s3://bucket/report.html")
    assert "age: PSI 0." in told["message"]
    assert "KS distance 0." in told["message"]
    assert (
        "Proposed: retrain, for the inputs moved, and no labels tell yet whether the answers suffer." in told["message"]
    )
    assert told["message"].endswith("Model: arn:model\nReport: s3://bucket/report.html")
    metrics = {each["name"]: each["value"] for each in told["metrics"]}
    assert {"DriftedFeatures": 1.0, "DriftFindings": 1.0, "DriftRows": 2000.0, "DriftMaxPsi": age["psi"]} == metrics


def test_what_is_sure_but_small_has_not_moved() -> None:
    """On many rows the test sees any difference; the PSI says that it does not matter."""
    age = by_name(measured(captured(rows(8000, older=1.5))), "age")
    assert (True, False) == (age["p_adjusted"] < 0.01, age["moved"])


def test_unknown_categories_are_a_bin_of_their_own() -> None:
    """They are counted, named, and a reason to look at the data first."""
    found = measured(captured(rows(1000, jobs=(*JOBS, "pilot", "nurse"))))
    job = by_name(found, "job")
    assert job["moved"]
    assert job["unseen"]["live"] > 0.1
    assert ["nurse", "pilot"] == sorted(job["examples"])
    assert "look at the data" == found["decision"]["choice"]
    assert "unknown to the model" in summary(found, report_uri="")["message"]


def test_missing_values_are_a_bin_of_their_own() -> None:
    """A feature that is suddenly missing moved, though those who have it are as ever."""
    half: list[Row] = [(age if number % 2 else "?", job) for number, (age, job) in enumerate(rows(1000))]
    found = measured(captured(half))
    age = by_name(found, "age")
    assert (True, 0.5) == (age["moved"], age["missing"]["live"])
    assert age["distance"] < 0.1
    assert ("look at the data", True) == (found["decision"]["choice"], "age is missing" in found["decision"]["why"])


def test_a_new_unit_is_something_to_look_at() -> None:
    """Months instead of years: one feature has moved as a whole."""
    found = measured(captured([(str(float(age) * 12), job) for age, job in rows(1000)]))
    assert "age alone has moved as a whole, as a new unit or code does" == found["decision"]["why"]


def test_a_thin_window_says_so() -> None:
    """It is judged by nothing and proposes nothing."""
    found = measured(captured(rows(99, older=30)))
    assert ("thin", "nothing", "") == (found["status"], *found["decision"].values())
    assert (
        "99 rows were captured from 2026-11-26T08:00:00Z to 2026-11-27T08:00:00Z, fewer than the 100 that drift is judged by"
        == found["sentence"]
    )
    assert "0 rows were captured" in measured([])["sentence"]


def test_good_answers_are_confirmed_by_labels() -> None:
    """Live AUC and accuracy are told beside the holdout's, and how many labels met an answer."""
    lines, known = judged(2000, good=True)
    known |= {f"never-{number}": "1" for number in range(500)}
    found = measured(lines, truth=labels_of(known))
    assert "2000 of 2500 labels (80%) met a captured answer" == found["labels"]["sentence"]
    assert found["quality"]["auc"] > 0.95
    assert found["quality"]["accuracy"] > 0.9
    assert (False, False) == (found["quality"]["fell"], found["labels"]["moved"])
    assert {"LiveAuc", "LiveAccuracy"} <= {each["name"] for each in summary(found, report_uri="")["metrics"]}


def test_bad_answers_right_after_a_release_are_rolled_back() -> None:
    """The inputs are as ever, the labels say that the new model is worse."""
    lines, known = judged(2000, good=False)
    found = measured(lines, truth=labels_of(known), over=span(released=END - 2 * DAY))
    assert (True, "roll back") == (found["quality"]["fell"], found["decision"]["choice"])
    assert "the quality of the answers" in found["sentence"]
    late = measured(lines, truth=labels_of(known), over=span(released=END - 60 * DAY))
    assert "retrain" == late["decision"]["choice"]


def test_labels_reach_back_beyond_the_inputs_window() -> None:
    """What was asked a week ago counts for the quality and not for the features."""
    lines, known = judged(500, good=True, at=END - 7 * DAY)
    found = measured([*lines, *captured(rows(300))], truth=labels_of(known))
    assert (300, 500) == (found["rows"], found["quality"]["rows"])


@pytest.mark.parametrize("good", [True, False])
def test_labels_are_judged_though_few_rows_came_of_late(good: bool) -> None:
    """An endpoint with little traffic: its inputs are not tested, and what labels say is told and published."""
    lines, known = judged(1600, good=good, at=END - 7 * DAY)
    found = measured([*lines, *captured(rows(99, older=30))], truth=labels_of(known))
    thin = (
        "99 rows were captured from 2026-11-26T08:00:00Z to 2026-11-27T08:00:00Z, fewer than the 100 that drift is"
        " judged by; by 1600 labels "
    )
    assert thin + ("nothing moved" if good else "these moved: the quality of the answers") == found["sentence"]
    assert ("measured", "nothing" if good else "retrain") == (found["status"], found["decision"]["choice"])
    assert [(None, False)] * 3 == [
        (each["p_adjusted"], each["moved"]) for each in (*found["features"], found["predictions"])
    ]
    metrics = {each["name"]: each["value"] for each in summary(found, report_uri="")["metrics"]}
    assert {"DriftFindings", "DriftRows", "LiveAuc", "LiveAccuracy"} == metrics.keys()
    assert (0.0 if good else 1.0) == metrics["DriftFindings"]
    assert "1600 labels" in render(found)


def test_few_labels_judge_nothing() -> None:
    """They are counted, and that they are too few is said."""
    lines, known = judged(300, good=False)
    few = dict(list(known.items())[:49])
    found = measured(lines, truth=labels_of(few))
    assert (None, None) == (found["quality"]["auc"], found["labels"]["p_value"])
    thin = "49 of 49 labels (100%) met a captured answer, too few to judge by (50 are needed)"
    assert thin == found["labels"]["sentence"]
    assert thin in message(found, report_uri="")


def test_more_positives_are_a_moved_label() -> None:
    """The share of positives, beyond chance and by a tenth of all."""
    lines, known = judged(2000, good=True, positives=0.45)
    found = measured(lines, truth=labels_of(known))
    assert found["labels"]["moved"]
    assert "labels: 25.0% -> 4" in summary(found, report_uri="")["message"]


def test_the_page_shows_everything_and_escapes_what_callers_sent() -> None:
    """Tables, plots and words, and no markup of a caller's."""
    found = measured(captured(rows(500, jobs=(*JOBS, "<script>"))))
    page = render(found)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert 3 == page.count("<svg")
    assert "Proposed: <b>look at the data</b>" in page
    json.dumps(found, allow_nan=False)


def test_the_page_of_a_thin_window_claims_nothing() -> None:
    """No proposal is shown."""
    page = render(measured([]))
    assert "0 rows were captured" in page
    assert "Proposed" not in page


def test_numbers_that_are_none_are_counted_apart() -> None:
    """Text, truth values and infinities are no numbers, spaces around one do not matter."""
    counts = NumericCounts({"edges": [10.0, 20.0], "counts": [1, 1, 1], "missing": 1}, frozenset({"", "?"}))
    counts.add([" 5 ", "10", 15, 20.0, 30, "", "?", None, "abc", "nan", "inf", "1e999"])
    assert ([1, 2, 2, 7], 3, 4) == (counts.counts, counts.missing, counts.invalid)
    assert ["below 10", "10 to 20", "from 20", "missing"] == counts.names


@pytest.mark.parametrize("values", [[True, 1, 1.0, 1], [1, 1.0, 1, True], [False, 0, 0.0, 0], [0, 0.0, 0, False]])
def test_a_truth_value_takes_no_number_with_it(values: list[Any]) -> None:
    """Python has true equal one, but one is a number however they follow each other, and true is none."""
    counts = NumericCounts({"edges": [0.0], "counts": [0, 1], "missing": 0}, frozenset())
    counts.add(values)
    assert ([0, 3, 1], 1) == (counts.counts, counts.invalid)


def test_a_value_that_many_share_is_told_from_its_neighbours() -> None:
    """A bin for it alone shows that it is asked no more; older baselines, which have none, are still read."""
    above = math.nextafter(0.0, 1.0)
    fine = NumericCounts({"edges": [0.0, above, 2000.0], "counts": [0, 950, 0, 50], "missing": 0}, frozenset())
    coarse = NumericCounts({"edges": [0.0, 2000.0], "counts": [0, 950, 50], "missing": 0}, frozenset())
    for counts in (fine, coarse):
        counts.add([1] * 950 + [3000] * 50)
    assert [0, 0, 950, 50, 0] == fine.counts
    assert ["below 0", "0", "above 0 to 2000", "from 2000", "missing"] == fine.names
    assert ([0, 950, 50, 0], "0 to 2000") == (coarse.counts, coarse.names[1])


def test_categories_in_endless_number_take_bounded_memory() -> None:
    """Identifiers in place of a category are counted, and few of them kept."""
    counts = CategoryCounts({"counts": {"a": 1}, "missing": 0, "unseen": 0}, frozenset())
    counts.add([f"user-{number}" for number in range(50_000)])
    assert ([0, 50_000, 0], 1000) == (counts.counts, len(counts._examples))


def test_scores_that_are_no_probabilities_are_counted_apart() -> None:
    """Below 0, above 1, and no number: a bin in which the holdout has none."""
    counts = ScoreCounts({"edges": [0.0, 0.5, 1.0], "counts": [1, 1]})
    counts.add([0.0, 0.5, 1.0, -0.1, 1.1, float("nan")])
    assert ([1, 2, 3], [1, 1, 0], 3) == (counts.counts, counts.baseline, counts.invalid)
    assert ["0 to 0.5", "0.5 to 1", "no probability"] == counts.names


@pytest.mark.parametrize(("broken", "share"), [(1, "100.0%"), (10, "10.0%")])
def test_answers_that_are_no_probabilities_are_something_to_look_at(broken: int, share: str) -> None:
    """All of them or some: sentence, message and decision say so."""
    chance = random.Random(4)
    scores = [math.nan if number % broken == 0 else chance.random() for number in range(1000)]
    lines = [line([row], [score], id_=str(at)) for at, (row, score) in enumerate(zip(rows(1000), scores, strict=True))]
    found = measured(lines)
    assert found["sentence"].endswith(f": predictions ({share} of them no probabilities)")
    assert "look at the data" == found["decision"]["choice"]
    assert f"{share} of the answers are no probabilities" in found["decision"]["why"]
    assert f"predictions: PSI {found['predictions']['psi']:.2f}, no probabilities {share}" in message(
        found, report_uri=""
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda drift: drift.pop("columns"), "columns"),
        (lambda drift: drift["features"].pop("age"), "age"),
        (lambda drift: drift["features"]["age"]["counts"].pop(), "age must have 10 counts"),
        (lambda drift: drift["features"]["age"].update(kind="text"), "feature age is of kind 'text'"),
        (lambda drift: drift["predictions"]["counts"].append(1), "predictions must have 4 counts"),
    ],
)
def test_a_baseline_that_is_none_is_refused(damage: Any, message: str) -> None:
    """Before anything is read."""
    drift, evaluation = documents()
    damage(drift)
    with pytest.raises((KeyError, ValueError), match=message):
        baseline_of(drift, evaluation)


def test_an_evaluation_without_auc_judges_no_quality() -> None:
    """Null in the evaluation is nothing to compare with."""
    drift, evaluation = documents()
    evaluation["binary_classification_metrics"]["auc"]["value"] = None
    assert baseline_of(drift, evaluation).auc is None
    assert baseline().auc is not None
    assert POLICY.min_rows == 100
