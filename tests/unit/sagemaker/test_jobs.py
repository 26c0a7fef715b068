"""Parts of the job runner that need no server."""

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline_local import staging
from dual_pipeline_local.processes import run_process
from dual_pipeline_local.sagemaker.jobs.container import Container
from dual_pipeline_local.sagemaker.jobs.failure import JobFailed, shorten
from dual_pipeline_local.sagemaker.jobs.script_mode import Script
from dual_pipeline_local.sagemaker.pipelines.cache import expiry_s


def test_a_script_gets_its_hyperparameters_as_the_toolkit_gives_them() -> None:
    """Values are decoded from JSON, sorted by name; the toolkit's own are kept from the script."""
    script = Script.of(
        {"sagemaker_program": '"train.py"', "z": "1", "eta": "0.1", "flag": "true", "map": '{"b": 1}', "text": "a b"}
    )
    assert "train.py" == script.program
    assert ["--eta", "0.1", "--flag", "True", "--map", "b=1", "--text", "a b", "-z", "1"] == script.arguments()
    variables = script.environment(job_name="job", channels={"train": {}}, instance="ml.m5.large")
    assert ("train.py", "train", '["train"]', "/opt/ml/input/data/train") == (
        variables["SM_USER_ENTRY_POINT"],
        variables["SM_MODULE_NAME"],
        variables["SM_CHANNELS"],
        variables["SM_CHANNEL_TRAIN"],
    )
    assert ("true", "0.1", "a b", '{"b":1}') == tuple(
        variables[f"SM_HP_{name}"] for name in ("FLAG", "ETA", "TEXT", "MAP")
    )


def test_only_paths_below_opt_ml_are_rewritten(tmp_path: Path) -> None:
    """Look-alikes and URIs stay as they are; other paths have no place."""
    container = Container(tmp_path, log=tmp_path / "log")
    assert f"--a={container.ml}/x:{container.ml}" == container.rewrite("--a=/opt/ml/x:/opt/ml")
    for same in ("/opt/mlx", "s3://b/opt/ml/x", "/usr/opt/ml", "opt/ml"):
        assert same == container.rewrite(same)
    for outside in ("/etc/passwd", "/opt/ml/../../x"):
        with pytest.raises(ValueError, match="does not lie below /opt/ml"):
            container.path(outside)


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (9, "4"), (None, "1")])
def test_a_job_leaves_cores_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int | None, threads: str
) -> None:
    """Its threads take half the cores and sleep while they wait; a job's own settings count."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    container = Container(tmp_path, log=tmp_path / "log")
    variables = container.environment({})
    assert (threads, "PASSIVE") == (variables["OMP_NUM_THREADS"], variables["OMP_WAIT_POLICY"])
    assert "7" == container.environment({"OMP_NUM_THREADS": "7"})["OMP_NUM_THREADS"]


@given(st.text(max_size=3000))
def test_reasons_keep_both_ends(reason: str) -> None:
    """A long reason fits AWS's limit and keeps its type and its last words."""
    cut = shorten(reason)
    assert len(cut) <= 1024
    assert reason[:200] == cut[:200]
    assert reason[-200:] == cut[-200:]
    assert cut == str(JobFailed(reason))


def test_a_process_ends_with_everything_it_started(tmp_path: Path) -> None:
    """A time-out kills grandchildren too, and the log's last lines are told."""
    code = "import subprocess, sys; print('began', flush=True); subprocess.run(['sleep', '9876'])"
    result = run_process(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        log=tmp_path / "log",
        timeout_s=1.0,
        stop=threading.Event(),
        grace_s=0.5,
    )
    assert (None, True, False, "began") == (result.exit_code, result.timed_out, result.stopped, result.log_tail)
    assert [] == _alive(["sleep", "9876"])


def test_a_process_is_stopped_from_another_thread(tmp_path: Path) -> None:
    """The event ends it within its grace; a command that is not there is an exit code."""
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    environment = {"PATH": os.environ["PATH"]}
    result = run_process(
        ["sleep", "600"], env=environment, cwd=tmp_path, log=tmp_path / "log", timeout_s=None, stop=stop
    )
    assert result.stopped
    assert time.monotonic() - began < 5
    missing = run_process(
        ["no-such-command"],
        env=environment,
        cwd=tmp_path,
        log=tmp_path / "missing",
        timeout_s=None,
        stop=threading.Event(),
    )
    assert (127, "no-such-command: No such file or directory") == (missing.exit_code, missing.log_tail)


@pytest.mark.parametrize(
    ("prefix", "key", "place"),
    [
        ("data/", "data/a/b.csv", "a/b.csv"),
        ("data", "data/a.csv", "a.csv"),
        ("data/file.csv", "data/file.csv", "file.csv"),
        ("data/tr", "data/train/x.csv", "train/x.csv"),
        ("", "x.csv", "x.csv"),
    ],
)
def test_objects_keep_their_path_below_the_prefix(prefix: str, key: str, place: str) -> None:
    """A prefix may be a folder, an object or the beginning of a name."""
    assert place == staging._below(prefix, key)


@pytest.mark.parametrize(
    ("text", "seconds"), [("P30D", 30 * 86400), ("p1w", 604800), ("PT1H30M", 5400), ("P1DT1M", 86460)]
)
def test_cache_expiry_is_iso_8601(text: str, seconds: int) -> None:
    """Durations of days, weeks, hours, minutes and seconds."""
    assert seconds == expiry_s(text)


def _alive(command: list[str]) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["cmdline"] == command and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
