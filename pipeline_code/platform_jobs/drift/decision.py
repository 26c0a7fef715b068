"""What people are advised to do about what was found: one decision, by rules that are written down here."""

from collections.abc import Sequence
from typing import NamedTuple

RETRAIN, LOOK, ROLL_BACK, NOTHING = "retrain", "look at the data", "roll back", "nothing"
# More damaged lines than this and the rest may be no fair sample.
CORRUPT_SHARE = 0.1
# So much more missing, or unknown to the model, is a defect of a source rather than a change of people.
GAP_RISE = 0.1
# A model of probabilities answers nothing else; fewer may be single requests that ask for it.
BROKEN_ANSWERS = 0.01
# A feature whose rows nearly all left their place has a new unit, code or column, not new people.
WHOLLY = 0.8


class Moved(NamedTuple):
    """A feature that moved: its distance from 0 to 1, and how much more of it is missing or unknown to the model."""

    name: str
    distance: float
    gap_rise: float


class Findings(NamedTuple):
    """What a window holds.

    `inputs_judged` is false where too few rows were captured for it, and `quality_fell` None without enough labels;
    `broken_answers` is the share of them that are no probabilities; `fresh` says that labels and answers are of the
    days right after a release.
    """

    moved: Sequence[Moved] = ()
    inputs_judged: bool = True
    predictions_moved: bool = False
    broken_answers: float = 0.0
    labels_moved: bool = False
    quality_fell: bool | None = None
    fresh: bool = False
    corrupt_share: float = 0.0


def decide(found: Findings) -> tuple[str, str]:
    """The decision and why; the first rule that fits is taken."""
    gaps = [each.name for each in found.moved if each.gap_rise >= GAP_RISE]
    wholly = [each.name for each in found.moved if each.distance >= WHOLLY]
    inputs = "the inputs did not move" if found.inputs_judged else "too few rows tell whether the inputs moved"
    if found.corrupt_share > CORRUPT_SHARE:
        return LOOK, f"{found.corrupt_share:.0%} of the captured lines or files are damaged"
    if found.predictions_moved and found.broken_answers >= BROKEN_ANSWERS:
        return LOOK, f"{found.broken_answers:.1%} of the answers are no probabilities"
    if gaps:
        return LOOK, f"much more of {', '.join(gaps)} is missing or unknown to the model than it learned from"
    if len(found.moved) == 1 and wholly:
        return LOOK, f"{wholly[0]} alone has moved as a whole, as a new unit or code does"
    if found.quality_fell and not found.moved and found.fresh:
        return ROLL_BACK, f"the answers became worse right after the last release while {inputs}"
    if found.moved and found.quality_fell:
        return RETRAIN, "the inputs moved and the answers became worse"
    if found.moved and found.quality_fell is None:
        return RETRAIN, "the inputs moved, and no labels tell yet whether the answers suffer"
    if found.moved:
        return RETRAIN, "the inputs moved; by the labels that came the answers are still good"
    if found.quality_fell or found.labels_moved:
        return RETRAIN, f"{inputs}, but what is true of them did"
    if found.predictions_moved:
        return LOOK, "the answers moved while no single input did: see which inputs changed together"
    return NOTHING, "nothing moved beyond chance and the thresholds"
