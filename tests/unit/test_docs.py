"""Documents cannot rot: every setting and alarm has its heading, and the command's page is what --help says."""

import dataclasses
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline.data_contract import Column, DataContract
from dual_pipeline.environment import Environment, VpcConfig
from dual_pipeline.hyperparameters import Choices, FloatRange, Hyperparameter, IntegerRange
from dual_pipeline.model_project import (
    Approval,
    BatchScoring,
    Drift,
    ExternalCheck,
    Gates,
    Ingest,
    Instances,
    Limits,
    ModelProject,
    OptionalSteps,
    Rollout,
    Schedule,
    SmokeTraining,
    Training,
    Tuning,
    Watch,
)
from dual_pipeline.ruleset import Anomaly, Rule, Ruleset
from dual_pipeline.workflow import Workflow

ROOT = Path(__file__).parents[2]
SETTINGS = (
    Environment,
    VpcConfig,
    ModelProject,
    Gates,
    Instances,
    Hyperparameter,
    IntegerRange,
    FloatRange,
    Choices,
    Training,
    SmokeTraining,
    Tuning,
    OptionalSteps,
    Schedule,
    ExternalCheck,
    BatchScoring,
    Ingest,
    Approval,
    Rollout,
    Drift,
    Watch,
    Limits,
    Workflow,
    DataContract,
    Column,
    Ruleset,
    Rule,
    Anomaly,
)
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))


def _slug(heading: str) -> str:
    """The anchor GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _prose(path: Path) -> str:
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def _headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", _prose(path), flags=re.MULTILINE)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        return "none" if value == {} else f"`{type(value).__name__}()`"
    if isinstance(field.default, timedelta):
        if not field.default:
            return "none"
        days, seconds = field.default.days, field.default.seconds
        amounts = {"day": days} if days else {"hour": seconds // 3600} if seconds >= 3600 else {"minute": seconds // 60}
        ((unit, amount),) = amounts.items()
        return f"{amount} {unit}{'s' if amount > 1 else ''}"
    return f"`{field.default!r}`"


@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)
def test_every_setting_is_explained(kind: Any) -> None:
    """docs/configuration.md has a heading per setting, with its true default, and none for what does not exist."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    sections = dict(re.findall(rf"^### {kind.__name__}\.(\w+)\n\n(.+?)(?=\n#|\Z)", text, re.MULTILINE | re.DOTALL))
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert list(fields) == list(sections)
    for name, section in sections.items():
        required = fields[name].default is fields[name].default_factory is dataclasses.MISSING
        wanted = "Required." if required else f"Default: {_default(fields[name])}."
        assert section.strip().endswith(wanted), name


def test_every_alarm_has_a_section() -> None:
    """Each section that an alarm or notification sends people to is a heading of the runbook, and each heading is used."""
    sources = [*(ROOT / "stacks").glob("*.py"), *(ROOT / "constructs").rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    used = set(re.findall(r'runbook="([^"{]+)"', text)) | set(re.findall(r"section '([^'{]+)'", text))
    used |= set(re.findall(r'^    \("[\w-]+", (?:True, |False, )?".+", "(.+)"\),$', text, flags=re.MULTILINE))
    assert used
    assert used == set(_headings(ROOT / "docs" / "runbook.md")) - {"Runbook"}


def test_command_page_is_what_help_says() -> None:
    """docs/cli.md is what make docs writes."""
    title = "The dual-pipeline command"
    command = [sys.executable, "-m", "typer", "dual_pipeline_cli.app", "utils", "docs", "--name", "dual-pipeline"]
    printed = subprocess.run(
        [*command, "--title", title], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == (ROOT / "docs" / "cli.md").read_text().strip(), "run make docs"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link of a document names a file, and its anchor a heading."""
    path = ROOT / document
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), target
        if anchor and place.suffix == ".md":
            assert anchor in map(_slug, _headings(place)), target


def test_make_targets_named_in_documents_exist() -> None:
    """A `make x` in a document is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / document).read_text(), flags=re.MULTILINE))
        assert named <= targets, document
