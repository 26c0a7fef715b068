"""Processing jobs on one host and on several."""

import json
import time
from pathlib import Path

import pytest

from dual_pipeline_local.errors import ApiError
from sagemaker_bench import Bench

LIST = """
import json, os, pathlib, sys
data, output, config = (pathlib.Path(word) for word in sys.argv[1:])
resources = json.loads(config.read_text())
host = resources["current_host"]
(output / f"{host}.json").write_text(json.dumps({"hosts": resources["hosts"], "files": sorted(os.listdir(data))}))
(output / "same.txt").write_text(host)
"""
ARGUMENTS = ("/opt/ml/processing/input/data", "/opt/ml/processing/output", "/opt/ml/config/resourceconfig.json")
FILES = {f"s3://b/data/{number}.csv": b"x" for number in range(5)}


def _seen(bench: Bench, name: str) -> list[list[str]]:
    hosts = [json.loads(bench.objects[f"s3://b/out/{name}/algo-{number}.json"]) for number in (1, 2, 3)]
    assert all(["algo-1", "algo-2", "algo-3"] == host["hosts"] for host in hosts)
    return [host["files"] for host in hosts]


@pytest.mark.parametrize(
    ("is_sharded", "files"),
    [
        (True, [["0.csv", "3.csv"], ["1.csv", "4.csv"], ["2.csv"]]),
        (False, [["0.csv", "1.csv", "2.csv", "3.csv", "4.csv"]] * 3),
    ],
)
def test_hosts_share_or_repeat_inputs(tmp_path: Path, is_sharded: bool, files: list[list[str]]) -> None:
    """Sharded objects are dealt round-robin in the order of their keys; the last host's file of a name wins."""
    bench = Bench(tmp_path)
    bench.objects |= FILES
    inputs = {"data": "s3://b/data/"}
    job = bench.run(
        "Processing", bench.processing("three", LIST, *ARGUMENTS, inputs=inputs, hosts=3, is_sharded=is_sharded)
    )
    assert "Completed" == job["ProcessingJobStatus"], job
    assert files == _seen(bench, "three")
    assert b"algo-3" == bench.objects["s3://b/out/three/same.txt"]


def test_a_host_without_objects_runs(tmp_path: Path) -> None:
    """More hosts than objects leave a host with an empty folder, not without one."""
    bench = Bench(tmp_path)
    bench.objects["s3://b/data/0.csv"] = b"x"
    inputs = {"data": "s3://b/data/"}
    request = bench.processing("few", LIST, *ARGUMENTS, inputs=inputs, hosts=3, is_sharded=True)
    assert "Completed" == bench.run("Processing", request)["ProcessingJobStatus"]
    assert [["0.csv"], [], []] == _seen(bench, "few")


def test_one_failing_host_stops_the_others(tmp_path: Path) -> None:
    """The job fails with that host's reason, at once, and uploads nothing."""
    code = """
import json, pathlib, sys, time
if json.loads(pathlib.Path(sys.argv[1]).read_text())["current_host"] == "algo-2":
    raise ValueError("a bad row")
time.sleep(600)
"""
    bench = Bench(tmp_path)
    began = time.monotonic()
    job = bench.run("Processing", bench.processing("one-bad", code, ARGUMENTS[2], hosts=2))
    assert "Failed" == job["ProcessingJobStatus"]
    assert job["FailureReason"].endswith("ValueError: a bad row, exit code: 1")
    assert time.monotonic() - began < 20
    assert [] == [uri for uri in bench.objects if uri.startswith("s3://b/out/")]


def test_what_a_job_says_at_its_end_is_its_exit_message(tmp_path: Path) -> None:
    """The first kilobyte of it; then the reason tells as little as AWS's does."""
    bench = Bench(tmp_path)
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('no age' + 600 * '\u00e4'); sys.exit(sys.argv[2])"
    for name, ending in (("told", ""), ("why", "5")):
        job = bench.run("Processing", bench.processing(name, code, "/opt/ml/output/message", ending))
        assert "no age" + 509 * "\u00e4" == job["ExitMessage"]
    assert "AlgorithmError: See job logs for more information" == job["FailureReason"]


def test_an_output_that_is_gone_is_the_jobs_own_failure(tmp_path: Path) -> None:
    """A command that removes its output folder fails as a ClientError that names the folder."""
    bench = Bench(tmp_path)
    code = "import shutil, sys; shutil.rmtree(sys.argv[1])"
    job = bench.run("Processing", bench.processing("gone", code, "/opt/ml/processing/output"))
    assert job["FailureReason"].startswith("ClientError: Failed to upload output to s3://b/out/gone as ")


def test_inputs_that_exclude_each_other_on_disk_fail_the_job(tmp_path: Path) -> None:
    """A key that is a file and a folder at once cannot be staged."""
    bench = Bench(tmp_path)
    bench.objects |= {"s3://b/data/a": b"1", "s3://b/data/a/b": b"2"}
    job = bench.run("Processing", bench.processing("clash", "", inputs={"data": "s3://b/data/"}))
    assert job["FailureReason"].startswith("ClientError: Data download failed:Failed to download data.")


def test_a_finished_job_keeps_its_files_and_its_description(tmp_path: Path) -> None:
    """Inputs, outputs and job.json stay below the work folder, each further host in a folder of its name."""
    bench = Bench(tmp_path)
    bench.objects |= FILES
    job = bench.run("Processing", bench.processing("kept", LIST, *ARGUMENTS, inputs={"data": "s3://b/data/"}, hosts=2))
    folder = tmp_path / "jobs" / "processing" / "kept"
    assert "Completed" == job["ProcessingJobStatus"]
    assert job | {"LastModifiedTime": 0} == json.loads((folder / "job.json").read_text()) | {"LastModifiedTime": 0}
    for host in (folder, folder / "algo-2"):
        assert (host / "ml" / "processing" / "input" / "data" / "0.csv").is_file()
        assert (host / "ml" / "processing" / "output" / "same.txt").is_file()
    assert (tmp_path / "logs" / "ProcessingJobs" / "kept.algo-2.log").is_file()


def test_several_hosts_with_the_spark_image_are_refused(tmp_path: Path) -> None:
    """A Spark cluster is not modelled, and nothing starts."""
    bench = Bench(tmp_path)
    request = bench.processing("cluster", "", hosts=2)
    request["AppSpecification"]["ImageUri"] = "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-spark-processing:3.5-cpu"
    with pytest.raises(ApiError, match="with the Spark image on more than one instance is not modelled"):
        bench.call("CreateProcessingJob", **request)
