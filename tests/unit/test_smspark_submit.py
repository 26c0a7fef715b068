"""The options of the Spark image's smspark-submit."""

from pathlib import Path

import pytest

from dual_pipeline_local import smspark_submit


@pytest.fixture(autouse=True)
def _spark_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", "/spark")
    monkeypatch.setenv("SPARK_PROPERTIES_FILE", "/conf")


def test_options_go_before_the_application_and_arguments_after_it(tmp_path: Path) -> None:
    """A folder stands for its files; what follows the application is its own, whatever it looks like."""
    for name in ("b.py", "a.py"):
        (tmp_path / name).write_text("")
    given = ["--py-files", str(tmp_path), "-v", "/job.py", "--conf", "x", "--verbose"]
    expected = ["--py-files", f"{tmp_path}/a.py,{tmp_path}/b.py", "--verbose", "/job.py", "--conf", "x", "--verbose"]
    assert ["/spark/bin/spark-submit", "--properties-file", "/conf", *expected] == smspark_submit.command(given)


def test_event_logs_are_spark_settings(tmp_path: Path) -> None:
    """The folder is made and told to Spark."""
    words = smspark_submit.command(["--local-spark-event-logs-dir", f"{tmp_path}/events", "/job.py"])
    settings = ["--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file://{tmp_path}/events"]
    assert ["/spark/bin/spark-submit", "--properties-file", "/conf", *settings, "/job.py"] == words
    assert (tmp_path / "events").is_dir()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--conf", "a=b", "/job.py"], "no such option: --conf"),
        (["--driver-memory=1g", "/job.py"], "no such option: --driver-memory"),
        ([], "missing parameter: app"),
        (["--jars", "a.jar", "/job.py"], "file path a.jar must be an absolute path to a file or directory"),
        (["--files", "/no/such/file", "/job.py"], "file path /no/such/file does not exist"),
        (["--spark-event-logs-s3-uri", "s3://b/x", "/job.py"], "--spark-event-logs-s3-uri is not modelled by the loc"),
    ],
)
def test_what_the_image_does_not_know_is_refused(given: list[str], message: str) -> None:
    """Options of spark-submit that smspark-submit lacks, missing files, and what is not modelled."""
    with pytest.raises(smspark_submit.Refused) as refusal:
        smspark_submit.command(given)
    assert message in str(refusal.value)
