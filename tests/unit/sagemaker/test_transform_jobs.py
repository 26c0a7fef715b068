"""Transform jobs over a model's real server."""

import time
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline_local.errors import ApiError
from sagemaker_bench import Bench, tar

LINES: dict[str, Any] = {"source": {"SplitType": "Line"}, "target": {"AssembleWith": "Line"}}


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({}, b"2.0,4.0,6.0"),
        ({**LINES, "BatchStrategy": "SingleRecord"}, b"2.0\n4.0\n6.0\n"),
        ({**LINES, "BatchStrategy": "MultiRecord"}, b"2.0,4.0,6.0\n"),
        ({"source": {"SplitType": "Line"}, "BatchStrategy": "SingleRecord"}, b"2.04.06.0"),
    ],
)
def test_records_are_split_and_assembled(tmp_path: Path, options: dict[str, Any], output: bytes) -> None:
    """Whole objects, single lines or mini-batches are sent; answers are put together as asked."""
    bench = Bench(tmp_path)
    request = bench.transform(bench.model("twice"), {"deep/a.csv": b"1\n2\n3\n"}, **options)
    job = bench.run("Transform", request)
    assert "Completed" == job["TransformJobStatus"], job
    assert output == bench.objects["s3://b/out/twice/deep/a.csv.out"]
    assert job["TransformStartTime"] <= job["TransformEndTime"]
    kind = "SageMaker Transform Job State Change"
    states = [detail["TransformJobStatus"] for detail_type, detail in bench.cloud.events if detail_type == kind]
    assert ("InProgress", "Completed") == (states[0], states[-1])


def test_mini_batches_fit_the_payload(tmp_path: Path) -> None:
    """As many lines as fit into MaxPayloadInMB are sent at once, and no line is lost."""
    line = b"1" + b" " * 400_000
    bench = Bench(tmp_path)
    request = bench.transform(bench.model("big"), {"a.csv": b"\n".join([line] * 5)}, **LINES, MaxPayloadInMB=1)
    bench.run("Transform", request)
    assert b"2.0,2.0\n2.0,2.0\n2.0\n" == bench.objects["s3://b/out/big/a.csv.out"]


def test_one_bad_record_fails_the_job_and_keeps_the_good_objects(tmp_path: Path) -> None:
    """The object with the record has no output, the others do, and the reason names object and answer."""
    bench = Bench(tmp_path)
    objects = {"a.csv": b"1\n", "b.csv": b"1\n-1\n", "c.csv": b"3\n"}
    client = {"ModelClientConfig": {"InvocationsMaxRetries": 1}}
    job = bench.run("Transform", bench.transform(bench.model("picky"), objects, **LINES, **client))
    assert "Failed" == job["TransformJobStatus"]
    expected = (
        "AlgorithmError: b.csv: Bad HTTP status received from algorithm: 500 Message: RuntimeError: no answer to -1"
    )
    assert expected == job["FailureReason"]
    written = [uri for uri in bench.objects if uri.startswith("s3://b/out/")]
    assert ["s3://b/out/picky/a.csv.out", "s3://b/out/picky/c.csv.out"] == sorted(written)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"one\n", "ClientError: a.csv: 400 Message: not numbers: one"),
        (b"1" * 1_100_000, "ClientError: a.csv: a record of 1100000 bytes exceeds MaxPayloadInMB 1"),
    ],
)
def test_unreadable_input_is_the_clients_error(tmp_path: Path, content: bytes, reason: str) -> None:
    """What the model cannot read and what is too large to send are told apart from the model's own failures."""
    bench = Bench(tmp_path)
    job = bench.run("Transform", bench.transform(bench.model("m"), {"a.csv": content}, MaxPayloadInMB=1))
    assert "Failed" == job["TransformJobStatus"]
    assert job["FailureReason"].startswith(reason)


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"no archive at all", "is not a tar.gz archive that can be unpacked"),
        (tar({"model.json": "{}" * 9999})[:60], "is not a tar.gz archive that can be unpacked"),
        (tar({"model.json": "{}"}), "model.tar.gz holds no code/inference.py"),
        (tar({"model.json": "[", "code/inference.py": "import nothing_like_it"}), "No module named 'nothing_like_it'"),
    ],
    ids=["text", "cut", "no-code", "broken-code"],
)
def test_a_model_that_is_none_fails_the_job(tmp_path: Path, archive: bytes, reason: str) -> None:
    """Archives that are not one, are cut off, or hold no working code end the job with their reason."""
    bench = Bench(tmp_path)
    job = bench.run("Transform", bench.transform(bench.model("bad", archive), {"a.csv": b"1"}))
    assert "Failed" == job["TransformJobStatus"]
    assert reason in job["FailureReason"]


def test_a_stopped_job_ends_in_the_middle_of_a_request(tmp_path: Path) -> None:
    """The server is killed; nothing is uploaded."""
    slow = "import time\ndef model_fn(d): pass\ndef transform_fn(*a): time.sleep(600)\n"
    bench = Bench(tmp_path)
    request = bench.transform(bench.model("slow", tar({"code/inference.py": slow})), {"a.csv": b"1"})
    arn = bench.call("CreateTransformJob", **request)["TransformJobArn"]
    time.sleep(0.5)
    bench.call("StopTransformJob", TransformJobName="slow")
    assert "Stopped" == bench.sagemaker.wait(arn, timeout_s=20)["TransformJobStatus"]
    assert [] == [uri for uri in bench.objects if uri.startswith("s3://b/out/")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DataProcessing": {"JoinSource": "Input"}}, "CreateTransformJob with JoinSource Input is not modelled"),
        ({"DataProcessing": {"OutputFilter": "$[0]"}}, "CreateTransformJob with OutputFilter $[0] is not modelled"),
        ({"source": {"SplitType": "RecordIO"}}, "CreateTransformJob with SplitType RecordIO is not modelled"),
        ({"source": {"CompressionType": "Gzip"}}, "CreateTransformJob with CompressionType Gzip is not modelled"),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "must not exceed 100 MB, got 60 times 2"),
        ({"ModelName": "nobody"}, 'Could not find model "arn:aws:sagemaker:eu-west-1:123456789012:model/nobody"'),
        (
            {
                "TransformResources": {
                    "InstanceType": "ml.g4dn.xlarge",
                    "InstanceCount": 1,
                    "VolumeKmsKeyId": "alias/key",
                }
            },
            "VolumeKmsKeyId can not be requested for instance type ml.g4dn.xlarge",
        ),
    ],
)
def test_bad_requests_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Absent features by name, faults in a sentence, before anything starts."""
    bench = Bench(tmp_path)
    with pytest.raises(ApiError) as refusal:
        bench.call("CreateTransformJob", **bench.transform(bench.model("m"), {"a.csv": b"1"}, **change))
    assert message in refusal.value.message
