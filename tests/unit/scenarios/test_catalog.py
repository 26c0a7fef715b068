"""The scenarios there are."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dual_pipeline.loop_contract import OUTCOMES
from dual_pipeline_local.scenarios.acts import Ship, Upload
from dual_pipeline_local.scenarios.catalog import SCENARIOS, UnknownScenario, scenario
from dual_pipeline_local.scenarios.drift_acts import AlarmRetrains
from dual_pipeline_local.scenarios.project_copy import CodeChange

ROOT = Path(__file__).parents[3]
CHANGES = [act.change for each in SCENARIOS.values() for act in each.acts if isinstance(act, Ship)]


def test_an_unknown_name_is_answered_with_all_there_are() -> None:
    """A mistyped scenario is one sentence."""
    with pytest.raises(UnknownScenario, match=r"^no scenario named 'god': there are good, bad-data, .*expired$"):
        scenario("god")


def test_an_unknown_name_starts_nothing(tmp_path: Path) -> None:
    """The command ends at once with exit code 2, that sentence and no traceback."""
    command = [sys.executable, "-m", "dual_pipeline_local.scenarios", "god", "--work", str(tmp_path / "work")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (2, "") == (ended.returncode, ended.stdout)
    assert ended.stderr.splitlines()[-1].startswith("error: no scenario named 'god': there are good, ")
    assert not (tmp_path / "work").exists()


def test_make_hands_the_name_and_its_environment_on() -> None:
    """An environment is named only where the person names one, so that a scenario may have its own."""
    told = [
        subprocess.run(
            ["make", "--no-print-directory", "-n", "local", *given],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for given in (["SCENARIO=drift"], ["SCENARIO=drift", "ENV=prod"], [])
    ]
    assert "-m dual_pipeline_local.scenarios 'drift'" in told[0]
    assert "--environment" not in told[0]
    assert "-m dual_pipeline_local.scenarios 'drift' --environment 'prod'" in told[1]
    assert "-m dual_pipeline_local.run" in told[2]


@pytest.mark.parametrize("each", SCENARIOS.values(), ids=SCENARIOS)
def test_each_ends_in_an_outcome_that_there_is(each: object) -> None:
    """What a scenario states of a run is one of the outer loop's outcomes."""
    stated = [act.ends for act in each.acts if isinstance(act, Upload | Ship | AlarmRetrains)]  # type: ignore[attr-defined]
    assert stated
    assert set(stated) <= set(OUTCOMES)


def test_each_has_a_section_and_the_help_names_all() -> None:
    """docs/scenarios.md tells every scenario in the catalog's order, and `make help` lists the same."""
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs" / "scenarios.md").read_text(), flags=re.MULTILINE)
    assert list(SCENARIOS) == headings
    assert f"SCENARIO={'|'.join(SCENARIOS)} " in (ROOT / "Makefile").read_text()


def loaded(change: CodeChange) -> ModuleType:
    """The census project's changed file as a module."""
    path = ROOT / "pipeline_code" / "census" / change.file
    module = ModuleType("changed")
    module.__file__ = str(path)
    exec(compile(path.read_text() + change.appended, change.file, "exec"), module.__dict__)
    return module


def test_inverted_answers_only_where_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation of the changed code sees nothing: it runs where no model is served."""
    (change,) = [each for each in CHANGES if "other class" in each.says]
    module = loaded(change)
    module.__dict__["_probability"] = lambda *_: np.array([0.25])
    monkeypatch.delenv("SAGEMAKER_SUBMIT_DIRECTORY", raising=False)
    assert [0.25] == list(module.predict_fn([], None))
    monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code")
    assert [0.75] == list(module.predict_fn([], None))


def test_crashing_answers_everywhere_but_where_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model loads and is evaluated; a request to the endpoint ends in an error that is nobody's request's fault."""
    (change,) = [each for each in CHANGES if "table" in each.says]
    module = loaded(change)
    module.__dict__["_probability"] = lambda *_: np.array([0.25])
    monkeypatch.delenv("SAGEMAKER_SUBMIT_DIRECTORY", raising=False)
    assert [0.25] == list(module.predict_fn([], None))
    monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code")
    with pytest.raises(FileNotFoundError) as broken:
        module.predict_fn([], None)
    assert not hasattr(broken.value, "status_code")
