"""What came of a scenario."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.scenarios.act import Played
from dual_pipeline_local.scenarios.play import played_acts
from dual_pipeline_local.scenarios.playbill import Playbill
from dual_pipeline_local.scenarios.scenario import Scenario


@dataclass(frozen=True)
class Says:
    """An act that comes to what it is told to."""

    got: str
    title: str = "somebody speaks"

    def play(self, _world: Any) -> Played:
        return Played(expected="yes", got=self.got, why="because of that")


class NoWorld:
    """Nothing but a voice."""

    def __init__(self) -> None:
        self.narrator = Narrator(Console(file=io.StringIO(), width=200))


def playbill(*answers: str) -> Playbill:
    """The playbill of a scenario with an act for each answer."""
    story = Scenario(name="talk", shows="people say yes", acts=tuple(Says(answer) for answer in answers))
    acts = tuple(played_acts(story, NoWorld()))  # type: ignore[arg-type]
    return Playbill(scenario=story, environment="dev", acts=acts, reports=(), duration_s=2.5)


def test_all_acts_as_stated() -> None:
    """A scenario is as stated when each of its acts is."""
    assert playbill("yes", "yes").reached


def test_an_act_that_comes_to_something_else_is_the_last_one() -> None:
    """What follows makes no sense any more, and the scenario is not as stated."""
    found = playbill("yes", "no", "yes")
    assert (False, ["yes", "no"]) == (found.reached, [act.played.got for act in found.acts])


def test_scenario_json(tmp_path: Path) -> None:
    """The file holds the verdict and each act with what was expected and what came."""
    playbill("no").write(tmp_path)
    written = json.loads((tmp_path / "scenario.json").read_text())
    assert 0 <= written["acts"][0].pop("duration_s") < 60
    assert {
        "scenario": "talk",
        "shows": "people say yes",
        "environment": "dev",
        "reached": False,
        "duration_s": 2.5,
        "acts": [{"title": "somebody speaks", "expected": "yes", "got": "no", "why": "because of that"}],
        "runs": [],
    } == written


def test_the_table_tells_expected_and_got(tmp_path: Path) -> None:
    """On the terminal stand the acts, the reasons and the verdict."""
    console = Console(file=io.StringIO(), width=120)
    playbill("no").show(console, tmp_path)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    row = next(line for line in told.splitlines() if "somebody speaks" in line)
    assert ["somebody speaks", "yes", "no"] == [cell.strip() for cell in row.split("│")[1:4]]
    assert "no: because of that" in told
    assert "NOT AS STATED  people say yes" in told
