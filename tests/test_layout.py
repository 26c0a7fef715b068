"""Guards of the house: the source root, the folders without packages, and which part may import which."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import constructs
import pytest

ROOT = Path(__file__).parent.parent
FIRST_PARTY = {
    "app",
    "environments",
    "stacks",
    "dual_pipeline",
    "pipeline_code",
    "dual_pipeline_cli",
    "dual_pipeline_local",
    "bench",
}
CONFIG = {
    "dual_pipeline." + module
    for module in (
        "approver",
        "asl",
        "data_contract",
        "environment",
        "errors",
        "failures",
        "loop_contract",
        "model_project",
        "ruleset",
        "validation",
        "workflow",
    )
}
AWS_CDK = {"aws_cdk", "constructs", "cdk_nag", "jsii"}
SDK = {"sagemaker", "sagemaker_core", "sagemaker_mlops", "sagemaker_train"}


def _imports(path: Path) -> Iterator[str]:
    """The absolute dotted names that a file imports, relative ones resolved against its place."""
    package = path.relative_to(ROOT / "constructs" if "constructs" in path.parts else ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join((*base, *(node.module.split(".") if node.module else ())))
            yield prefix
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def _offenders(folder: str, forbidden: set[str], *, pattern: str = "**/*.py") -> list[str]:
    paths = [ROOT / folder] if folder.endswith(".py") else sorted((ROOT / folder).glob(pattern))
    assert paths, f"nothing matches {folder}/{pattern}"
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(set(_imports(path)))
        if any(name == bad or name.startswith(bad + ".") for bad in forbidden)
    ]


def test_constructs_folder_is_a_source_root() -> None:
    """constructs/ holds only packages' folders, so that PyPI's constructs stays importable."""
    assert [] == [path.name for path in (ROOT / "constructs").iterdir() if path.is_file()]
    assert "site-packages" in Path(constructs.__file__).parts


def test_tests_are_no_packages() -> None:
    """No __init__.py stands anywhere under tests/."""
    assert [] == list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("app.py", SDK | {"pipeline_code", "dual_pipeline_local", "dual_pipeline_cli"}),
        (
            "environments.py",
            AWS_CDK | SDK | {"boto3", "botocore", "stacks", "dual_pipeline_local", "dual_pipeline_cli"},
        ),
        ("stacks", SDK | {"boto3", "environments", "pipeline_code", "dual_pipeline_local", "dual_pipeline_cli"}),
        (
            "constructs/dual_pipeline",
            SDK | {"boto3", "environments", "stacks", "pipeline_code", "dual_pipeline_local", "dual_pipeline_cli"},
        ),
        ("dual_pipeline_cli", AWS_CDK | SDK | {"stacks", "environments", "pipeline_code"}),
        ("dual_pipeline_local", AWS_CDK | SDK | {"stacks", "environments", "pipeline_code"}),
    ],
)
def test_arrows_between_parts(folder: str, forbidden: set[str]) -> None:
    """Each part imports only what the design lets it depend on."""
    assert [] == _offenders(folder, forbidden)


def test_configuration_loads_without_cdk() -> None:
    """The configuration modules import neither aws_cdk nor an SDK."""
    for module in CONFIG:
        path = "constructs/" + module.replace(".", "/") + ".py"
        assert [] == _offenders(path, AWS_CDK | SDK | {"boto3", "botocore"})


def test_step_code_imports_only_its_own_project() -> None:
    """A step imports its own folder and what its project's steps share; the platform's jobs ship as one library.

    `alone` runs other steps, so that its bundle holds them too.
    """
    steps = list((ROOT / "pipeline_code").glob("*/*/*.py"))
    assert steps
    for path in steps:
        _, project, step, _ = path.relative_to(ROOT).parts
        package = f"pipeline_code.{project}"
        modules = (step, "contract", "tables", "inference", *(("preprocess", "train") if step == "alone" else ()))
        ours = (package,) if project == "platform_jobs" else tuple(f"{package}.{module}" for module in modules)
        for name in set(_imports(path)) - {package}:
            if name.split(".")[0] in FIRST_PARTY | AWS_CDK | SDK:
                assert any(f"{name}.".startswith(f"{each}.") for each in ours), (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_python_is_the_pinned_one() -> None:
    """Tests run on Python 3.11, the version of Glue 5.1."""
    assert (3, 11) == sys.version_info[:2]
