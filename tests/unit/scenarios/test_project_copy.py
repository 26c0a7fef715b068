"""A checkout with one changed file."""

from pathlib import Path

import pytest

from dual_pipeline_local.lifecycle import EmulatorTrouble
from dual_pipeline_local.scenarios.project_copy import CodeChange, copy_with

CHANGE = CodeChange(file="inference.py", says="", appended="\nMORE = 1\n")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a synth reads, and something that it does not."""
    root = tmp_path / "root"
    for name in ("app.py", "cdk.json", "environments.py", "stacks/stage.py", "data/census.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name in (".venv", "node_modules", "pipeline_code/two_words"):
        (root / name).mkdir(parents=True)
    (root / "pipeline_code/two_words/inference.py").write_text("ONE = 1\n")
    return root


def test_the_copy_has_the_change_and_the_checkout_has_not(checkout: Path, tmp_path: Path) -> None:
    """One file differs; Python and Node are those of the checkout, and what no synth reads stays behind."""
    copy = copy_with(CHANGE, root=checkout, project="two-words", folder=tmp_path / "copy")
    file = Path("pipeline_code/two_words/inference.py")
    assert ("ONE = 1\n", "ONE = 1\n\nMORE = 1\n") == ((checkout / file).read_text(), (copy / file).read_text())
    assert {"app.py", "cdk.json", "environments.py", "stacks", "pipeline_code", ".venv", "node_modules"} == {
        path.name for path in copy.iterdir()
    }
    assert (checkout / "node_modules") == (copy / "node_modules").resolve()


def test_a_second_copy_takes_the_place_of_the_first(checkout: Path, tmp_path: Path) -> None:
    """A change is never applied twice."""
    for _ in range(2):
        copy = copy_with(CHANGE, root=checkout, project="two-words", folder=tmp_path / "copy")
    assert 1 == (copy / "pipeline_code/two_words/inference.py").read_text().count("MORE")
    assert (checkout / "node_modules").is_dir()


def test_a_file_that_is_not_there_is_named(checkout: Path, tmp_path: Path) -> None:
    """A project without the file is refused with a sentence."""
    (checkout / "pipeline_code/two_words/inference.py").unlink()
    with pytest.raises(EmulatorTrouble, match=r"'two-words' has no inference.py, which this scenario changes"):
        copy_with(CHANGE, root=checkout, project="two-words", folder=tmp_path / "copy")
