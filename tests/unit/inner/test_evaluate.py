"""The evaluation: from every model's scores of one holdout to evaluation.json, plots and page."""

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from pipeline_code.census.contract import DataError
from pipeline_code.census.evaluate.logic import (
    Holdout,
    Policy,
    Tuning,
    check_baseline,
    choose,
    evaluation,
)
from pipeline_code.census.evaluate.metrics import METRICS, auc
from pipeline_code.census.evaluate.plots import draw_all
from pipeline_code.census.evaluate.report import render

ROWS = 3000
POLICY = Policy(
    floors={"auc": 0.7, "accuracy": 0.6},
    max_auc_drop=0.005,
    compare_with_champion=True,
    segments={"place": ["north", "south"] * (ROWS // 2)},
    seed=17,
)
TROUBLE = "the champion cannot be loaded: ImportError: no module"


def scored(labels: np.ndarray, *, skill: float, seed: int = 0) -> np.ndarray:
    """Scores that know the labels so well."""
    noise = np.random.default_rng(seed).random(len(labels))
    return np.clip(skill * labels + (1 - skill) * noise, 0, 1)


@pytest.fixture
def holdout() -> Holdout:
    """A good challenger, a champion that is nearly as good, a poor baseline."""
    labels = (np.random.default_rng(5).random(ROWS) < 0.3).astype(np.int8)
    challenger = scored(labels, skill=0.35)
    champion = np.clip(challenger + 0.05 * np.random.default_rng(9).normal(size=ROWS), 0, 1)
    return Holdout(labels, challenger, baseline=scored(labels, skill=0.1, seed=3), champion=champion)


def judge(holdout: Holdout, policy: Policy = POLICY, **more: Any) -> dict[str, Any]:
    """The evaluation, once through JSON without NaN as the step writes it."""
    found = evaluation(holdout, policy=policy, source="default", baseline_description="a line", **more)
    report: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    return report


def tuning(holdout: Holdout, *, tuned: np.ndarray) -> Tuning:
    """The challenger as default beside a tuned model."""
    return Tuning(default=holdout.challenger, tuned=tuned, validation_auc={"default": 0.9, "tuned": 0.91})


def test_the_report_has_everything_that_others_read(holdout: Holdout) -> None:
    """Its sections by name, each metric with its deviation, the curves and the matrix in Model Monitor's layout."""
    report = judge(holdout, importance={"age": 2.0})
    sections = "binary_classification_metrics challenger baseline champion tuning segments gate warnings dataset"
    assert {*sections.split(), "importance"} == report.keys()
    quality = report["binary_classification_metrics"]
    curves = {"receiver_operating_characteristic_curve", "precision_recall_curve"}
    assert {*METRICS, *curves, "confusion_matrix"} == quality.keys()
    assert all({"value", "standard_deviation"} == quality[name].keys() for name in METRICS)
    assert 0.002 < quality["auc"]["standard_deviation"] < 0.02
    assert {"metrics", "description"} == report["baseline"].keys()
    assert {"metrics", "auc_difference", "interval", "sentence"} == report["champion"].keys()
    assert {"rows": ROWS, "positives": int(holdout.labels.sum())} == report["dataset"]
    assert ({"source": "default"}, {"age": 2.0}, None) == (
        report["challenger"],
        report["importance"],
        report["tuning"],
    )
    assert ["north", "south"] == [row["value"] for row in report["segments"]]


def test_it_is_the_same_for_the_same_seed(holdout: Holdout) -> None:
    """Nothing else decides it."""
    assert judge(holdout) == judge(holdout)
    assert judge(holdout) != judge(holdout, replace(POLICY, seed=18))


def test_a_challenger_as_good_as_the_champion_passes(holdout: Holdout) -> None:
    """The sentence has the difference, its interval and what is accepted."""
    report = judge(holdout)
    found = report["champion"]
    low, high = found["interval"]
    assert {
        "passed": True,
        "reasons": [],
        "rule": "auc at least 0.7, accuracy at least 0.6, better than the baseline, and no more than 0.005 of AUC "
        "below the champion",
    } == report["gate"]
    assert low < found["auc_difference"] < high
    own = report["binary_classification_metrics"]["auc"]["value"]
    assert (
        f"The challenger's AUC is {own:.4f}, the champion's on the same rows {found['metrics']['auc']:.4f}: it is better "
        f"({found['auc_difference']:+.4f}, interval {low:+.4f} to {high:+.4f}; a loss of at most 0.005 is accepted)."
    ) == found["sentence"]


def test_a_challenger_worse_than_the_champion_is_refused(holdout: Holdout) -> None:
    """Unless the run asked for no comparison; then the loss is a warning."""
    assert holdout.champion is not None
    swapped = replace(holdout, challenger=scored(holdout.labels, skill=0.3, seed=1), champion=holdout.challenger)
    report = judge(swapped)
    (reason,) = report["gate"]["reasons"]
    assert reason.startswith("the challenger is worse than the champion: ")
    assert "it is worse" in report["champion"]["sentence"]
    free = judge(swapped, replace(POLICY, compare_with_champion=False))
    assert (True, report["champion"]) == (free["gate"]["passed"], free["champion"])
    assert "the comparison with the champion decided nothing, as the run asked" in free["warnings"]
    assert free["gate"]["rule"].endswith("and better than the baseline; the run asked for no comparison")


def test_a_first_run_has_its_own_rule(holdout: Holdout) -> None:
    """Floors and baseline alone, and the report says so."""
    report = judge(replace(holdout, champion=None))
    assert (None, [], True) == (report["champion"], report["warnings"], report["gate"]["passed"])
    assert "better than the baseline; there is no champion yet" in report["gate"]["rule"]
    worse = judge(replace(holdout, champion=None, baseline=holdout.challenger))
    assert "is no better than the baseline's" in worse["gate"]["reasons"][0]


def test_a_champion_that_cannot_answer_refuses_and_names_the_way_out(holdout: Holdout) -> None:
    """The reason says why and how to go on; with the comparison off it is a warning."""
    silent = replace(holdout, champion=None, champion_trouble=TROUBLE)
    assert [
        f"{TROUBLE}, so it cannot be compared with; start the run with CompareWithChampion=false if it shall be "
        "replaced all the same"
    ] == judge(silent)["gate"]["reasons"]
    free = judge(silent, replace(POLICY, compare_with_champion=False))
    assert (True, [f"{TROUBLE}; the run asked for no comparison"]) == (free["gate"]["passed"], free["warnings"])


@pytest.mark.parametrize("bad", [math.nan, 1.5, -0.1, math.inf])
@pytest.mark.parametrize("model", ["challenger", "champion", "baseline"])
def test_scores_that_are_no_probabilities_never_pass(holdout: Holdout, model: str, bad: float) -> None:
    """One such score of any model shuts the gate; the report is still JSON and the page is still drawn."""
    scores = getattr(holdout, model).copy()
    scores[7] = bad
    spoilt = replace(holdout, **{model: scores})
    report = judge(spoilt, tuning=tuning(holdout, tuned=scores))
    assert not report["gate"]["passed"]
    assert "no probabilities" in report["tuning"]["sentence"]
    assert "The gate is shut" in render(report, draw_all(spoilt, report))


def test_tuning_that_helped_says_so(holdout: Holdout) -> None:
    """By its interval on the holdout, which nobody was chosen on."""
    better = scored(holdout.labels, skill=0.45)
    report = judge(holdout, tuning=tuning(holdout, tuned=better))
    found = report["tuning"]
    low, high = found["interval"]
    assert found["difference"] == found["tuned_auc"] - found["default_auc"]
    assert (auc(holdout.labels, better), {"default": 0.9, "tuned": 0.91}) == (
        found["tuned_auc"],
        found["validation_auc"],
    )
    assert found["better"]
    assert (
        f"Tuning beat the default on the holdout: AUC {found['tuned_auc']:.4f} against {found['default_auc']:.4f} "
        f"({found['difference']:+.4f}, interval {low:+.4f} to {high:+.4f}). "
        "The default model is the challenger, by its AUC on the validation split: 0.9000 default, 0.9100 tuned."
    ) == found["sentence"]
    assert [] == report["warnings"]


def test_tuning_that_did_not_help_is_a_warning(holdout: Holdout) -> None:
    """Where the interval holds zero the difference may be chance."""
    assert holdout.champion is not None
    report = judge(holdout, tuning=tuning(holdout, tuned=holdout.challenger))
    assert not report["tuning"]["better"]
    sentence = report["tuning"]["sentence"]
    assert sentence.startswith("Tuning did not beat the default on the holdout")
    assert "; the difference may be chance). The default model is the challenger" in sentence
    assert [sentence] == report["warnings"]


def test_a_regressed_segment_is_a_warning(holdout: Holdout) -> None:
    """It is named with what was lost, on the page too; the gate does not decide by it."""
    assert holdout.champion is not None
    north = np.arange(ROWS) % 2 == 0
    shuffled = np.random.default_rng(1).permutation(holdout.champion)
    halved = replace(holdout, challenger=np.where(north, shuffled, holdout.labels * 0.9))
    report = judge(halved)
    (warning,) = report["warnings"]
    assert warning.startswith("place north: AUC fell from 0.")
    assert warning in render(report, {})


def test_the_better_candidate_on_validation_is_chosen() -> None:
    """A tie goes to the default."""
    assert "tuned" == choose({"default": 0.9, "tuned": 0.91})
    assert "default" == choose({"default": 0.9, "tuned": 0.9})


def test_a_holdout_of_one_class_is_refused(holdout: Holdout) -> None:
    """No metric is made up for it."""
    none = replace(holdout, labels=np.zeros(ROWS, dtype=np.int8))
    with pytest.raises(DataError, match="the holdout must hold both classes, got 0 positive of 3000 rows; give"):
        judge(none)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.1], "the baseline has 1 scores for 2 rows of the holdout; run it on the same holdout"),
        ([0.1, math.nan], "the baseline's scores must be numbers from 0 to 1; run the baseline step again"),
        ([0.1, 2.0], "the baseline's scores must be numbers from 0 to 1; run the baseline step again"),
    ],
)
def test_a_baseline_of_another_holdout_is_refused(scores: list[float], message: str) -> None:
    """It must have one probability per row."""
    with pytest.raises(DataError, match=message):
        check_baseline(np.array(scores), rows=2)


class Outline(HTMLParser):
    """Collects what a page links to, and checks that its elements close in order."""

    def __init__(self) -> None:
        """Nothing is open yet."""
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element opens, if it is of a kind that closes."""
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "path", "rect", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The innermost element closes."""
        if tag not in ("meta", "path", "rect", "circle"):
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(holdout: Holdout) -> None:
    """Well-formed, no links, no scripts; verdict, sentences, segments and all plots are in it."""
    report = judge(holdout, tuning=tuning(holdout, tuned=holdout.challenger), importance={"age": 2.0, "<b>": 1.0})
    plots = draw_all(holdout, report)
    page = render(report, plots)
    outline = Outline()
    outline.feed(page)
    assert ([], []) == (outline.open, outline.links)
    assert "<script" not in page
    assert "url(" not in page
    for text in ("The gate is passed", "place: north", "Tuning did not beat", *plots.values()):
        assert text in page


def test_plots_draw_all_models_the_same_way_every_time(holdout: Holdout) -> None:
    """Each is sound SVG by itself; challenger, champion and baseline share the charts that compare."""
    report = judge(holdout, importance={"age": 2.0, "<b>": 1.0})
    plots = draw_all(holdout, report)
    assert ["roc", "precision_recall", "calibration", "confusion", "importance"] == list(plots)
    assert plots == draw_all(holdout, report)
    for name, drawing in plots.items():
        texts = [element.text for element in ElementTree.fromstring(drawing).iter() if element.text]
        if name in ("roc", "precision_recall", "calibration"):
            assert {"challenger", "champion", "baseline"} <= set(texts)
    assert "champion" not in draw_all(replace(holdout, champion=None), report)["roc"]
