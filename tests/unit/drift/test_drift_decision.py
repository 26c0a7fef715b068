"""One proposal for whatever was found."""

import pytest

from pipeline_code.platform_jobs.drift.decision import Findings, Moved, decide

AGE = Moved("age", 0.3, 0.0)
JOB = Moved("job", 0.3, 0.0)


@pytest.mark.parametrize(
    ("found", "decision", "why"),
    [
        (Findings(), "nothing", "nothing moved"),
        (Findings(moved=[AGE]), "retrain", "no labels tell yet"),
        (Findings(moved=[AGE], quality_fell=False), "retrain", "the answers are still good"),
        (Findings(moved=[AGE], quality_fell=True, fresh=True), "retrain", "the answers became worse"),
        (Findings(quality_fell=True, fresh=True), "roll back", "right after the last release"),
        (Findings(quality_fell=True, fresh=False), "retrain", "what is true of them did"),
        (
            Findings(inputs_judged=False, quality_fell=True, fresh=True),
            "roll back",
            "too few rows tell whether the inputs",
        ),
        (
            Findings(inputs_judged=False, labels_moved=True),
            "retrain",
            "too few rows tell whether the inputs moved, but",
        ),
        (Findings(labels_moved=True, quality_fell=False), "retrain", "what is true of them did"),
        (Findings(moved=[Moved("age", 0.3, 0.1)]), "look at the data", "much more of age is missing"),
        (Findings(moved=[AGE], corrupt_share=0.2), "look at the data", "20% of the captured"),
        (Findings(moved=[Moved("age", 0.9, 0.0)]), "look at the data", "age alone has moved as a whole"),
        (Findings(moved=[Moved("age", 0.9, 0.0), JOB]), "retrain", "the inputs moved"),
        (Findings(predictions_moved=True), "look at the data", "no single input"),
        (Findings(moved=[AGE], predictions_moved=True), "retrain", "the inputs moved"),
        (Findings(moved=[AGE], predictions_moved=True, broken_answers=0.05), "look at the data", "5.0% of the answers"),
        (Findings(moved=[AGE], predictions_moved=True, broken_answers=0.005), "retrain", "the inputs moved"),
    ],
)
def test_what_is_proposed(found: Findings, decision: str, why: str) -> None:
    """The first rule that fits."""
    assert decision == decide(found)[0]
    assert why in decide(found)[1]
