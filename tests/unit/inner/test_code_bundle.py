"""Code bundles: the same bytes everywhere, only the files named, and they run."""

import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from dual_pipeline.code_bundle import (
    write_alone_bundle,
    write_bundle,
    write_glue_library,
    write_platform_bundle,
    write_processing_bundle,
    write_training_bundle,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of three files a step, in a package of another name."""
    folder = tmp_path / "package" / "toy"
    for step in ("preprocess", "train"):
        (folder / step).mkdir(parents=True)
        (folder / step / "__init__.py").write_text("")
        (folder / step / "__main__.py").write_text(
            "import sys\nfrom ..contract import NAME\ndef main():\n    print(NAME, *sys.argv[1:])\n    return 3\n"
        )
    (folder / "preprocess" / "notes.txt").write_text("read by the step")
    (folder / "preprocess" / ".hidden").write_text("not shipped")
    (folder / "preprocess" / "__pycache__").mkdir()
    (folder / "preprocess" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"not shipped")
    (folder / "contract.py").write_text("NAME = 'toy'\n")
    (folder / "tables.py").write_text("")
    (folder / "inference.py").write_text("")
    for name in ("pipeline.py", "project.py", "rules.py"):
        (folder / name).write_text("not shipped")
    (folder / "decide").mkdir()
    (folder / "decide" / "handler.py").write_text("def handler(event, context):\n    return {}\n")
    (folder / "__init__.py").write_text("")
    (folder.parent / "__init__.py").write_text("")
    return folder


def test_processing_bundle_holds_only_what_the_step_needs(project: Path, tmp_path: Path) -> None:
    """The zip holds the step, the contract, the packages around them and an entry."""
    with zipfile.ZipFile(write_processing_bundle(project, step="preprocess", folder=tmp_path)) as archive:
        assert [
            "__main__.py",
            "package/__init__.py",
            "package/toy/__init__.py",
            "package/toy/contract.py",
            "package/toy/preprocess/__init__.py",
            "package/toy/preprocess/__main__.py",
            "package/toy/preprocess/notes.txt",
            "package/toy/tables.py",
        ] == archive.namelist()


def test_processing_bundle_runs_as_it_is(project: Path, tmp_path: Path) -> None:
    """`python3 x.zip ARGS` runs the step's main and exits with what it returns."""
    bundle = write_processing_bundle(project, step="preprocess", folder=tmp_path)
    done = subprocess.run([sys.executable, str(bundle), "--a", "1"], capture_output=True, text=True, cwd="/")
    assert (3, "toy --a 1\n") == (done.returncode, done.stdout)


def test_alone_bundle_holds_every_step(project: Path, tmp_path: Path) -> None:
    """A step that runs others finds them, and what is no step of a job stays behind."""
    with tarfile.open(write_alone_bundle(project, step="train", folder=tmp_path)) as archive:
        names = archive.getnames()
    assert {"train.py", "package/toy/inference.py", "package/toy/preprocess/__main__.py"} <= set(names)
    assert not [name for name in names if "decide" in name or name.endswith(("pipeline.py", "project.py", ".pyc"))]


def test_training_bundle_holds_inference_and_runs(project: Path, tmp_path: Path) -> None:
    """The tarball unpacks to a folder whose train.py runs the step."""
    with tarfile.open(write_training_bundle(project, folder=tmp_path)) as archive:
        assert [
            "package/__init__.py",
            "package/toy/__init__.py",
            "package/toy/contract.py",
            "package/toy/inference.py",
            "package/toy/tables.py",
            "package/toy/train/__init__.py",
            "package/toy/train/__main__.py",
            "train.py",
        ] == archive.getnames()
        archive.extractall(tmp_path / "code", filter="data")
    done = subprocess.run([sys.executable, tmp_path / "code" / "train.py"], capture_output=True, text=True, cwd="/")
    assert (3, "toy\n") == (done.returncode, done.stdout)


def test_spark_bundle_is_a_zip_that_spark_submit_takes(project: Path, tmp_path: Path) -> None:
    """It ends in .py, as spark-submit demands, and Python runs it as the zip that it is."""
    bundle = write_bundle(project, step="preprocess", kind="spark", folder=tmp_path)
    assert "preprocess.py" == bundle.name
    done = subprocess.run([sys.executable, str(bundle), "--a"], capture_output=True, text=True, cwd="/")
    assert (3, "toy --a\n") == (done.returncode, done.stdout)


def test_function_bundle_holds_the_handler_at_its_root(project: Path, tmp_path: Path) -> None:
    """Lambda finds handler.handler; a folder without it is refused."""
    with zipfile.ZipFile(write_bundle(project, step="decide", kind="function", folder=tmp_path)) as archive:
        assert ["handler.py"] == archive.namelist()
    with pytest.raises(FileNotFoundError, match=r"a code bundle needs .*/train/handler.py, which does not exist"):
        write_bundle(project, step="train", kind="function", folder=tmp_path)


def test_bundles_do_not_depend_on_time_or_modes(project: Path, tmp_path: Path) -> None:
    """Other modification times, modes and umask leave every byte as it was."""
    before = [
        write_processing_bundle(project, step="preprocess", folder=tmp_path / "1").read_bytes(),
        write_training_bundle(project, folder=tmp_path / "1").read_bytes(),
    ]
    copy = tmp_path / "elsewhere" / "package"
    shutil.copytree(project.parent, copy)
    for path in copy.rglob("*.py"):
        os.utime(path, (time.time() - 10_000, 0))
        path.chmod(0o755)
    umask = os.umask(0o077)
    try:
        after = [
            write_processing_bundle(copy / "toy", step="preprocess", folder=tmp_path / "2").read_bytes(),
            write_training_bundle(copy / "toy", folder=tmp_path / "2").read_bytes(),
        ]
    finally:
        os.umask(umask)
    assert before == after


def test_a_changed_step_changes_its_own_bundle_alone(project: Path, tmp_path: Path) -> None:
    """One bundle per step: editing preprocess leaves train's bytes as they were."""
    train = write_training_bundle(project, folder=tmp_path).read_bytes()
    preprocess = write_processing_bundle(project, step="preprocess", folder=tmp_path).read_bytes()
    (project / "preprocess" / "notes.txt").write_text("edited")
    assert train == write_training_bundle(project, folder=tmp_path).read_bytes()
    assert preprocess != write_processing_bundle(project, step="preprocess", folder=tmp_path).read_bytes()


def test_large_files_survive_the_gzip_of_stored_blocks(project: Path, tmp_path: Path) -> None:
    """Content beyond one deflate block comes back whole."""
    content = os.urandom(200_000)
    (project / "train" / "table.bin").write_bytes(content)
    with tarfile.open(write_training_bundle(project, folder=tmp_path)) as archive:
        member = archive.extractfile("package/toy/train/table.bin")
        assert member is not None
        assert content == member.read()


def test_glue_library_holds_the_platform_jobs(census_folder: Path, tmp_path: Path) -> None:
    """The library has the jobs under the name that the scripts import."""
    with zipfile.ZipFile(write_glue_library(census_folder.parent, folder=tmp_path)) as archive:
        names = archive.namelist()
    assert {"pipeline_code/__init__.py", "pipeline_code/platform_jobs/ingest/logic.py"} <= set(names)
    assert not [name for name in names if "census" in name]


def test_a_platform_job_is_bundled_alone_and_runs(census_folder: Path, tmp_path: Path) -> None:
    """A processing job of the platform's own holds its folder and nothing of Glue's or of a project."""
    bundle = write_platform_bundle(census_folder.parent, job="drift", folder=tmp_path)
    with zipfile.ZipFile(bundle) as archive:
        names = set(archive.namelist())
    packages = {"pipeline_code/__init__.py", "pipeline_code/platform_jobs/__init__.py", "__main__.py"}
    assert packages <= names
    assert all(name.startswith("pipeline_code/platform_jobs/drift/") for name in names - packages)
    done = subprocess.run([sys.executable, str(bundle), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert "--capture-uri" in done.stdout
    assert bundle.read_bytes() == write_platform_bundle(census_folder.parent, job="drift", folder=tmp_path).read_bytes()


def test_a_missing_step_is_named(project: Path, tmp_path: Path) -> None:
    """The error says which file is not there."""
    with pytest.raises(FileNotFoundError, match=r"step 'evaluate' of project 'toy' has no .*evaluate/__main__.py"):
        write_processing_bundle(project, step="evaluate", folder=tmp_path)
