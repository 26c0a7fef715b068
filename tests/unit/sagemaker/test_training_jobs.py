"""Training jobs whose code does not arrive whole."""

from pathlib import Path

import pytest

from sagemaker_bench import Bench, tar

WHOLE = tar({"train.py": "print(1)\n" * 1000})


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (WHOLE[: len(WHOLE) // 2], "Compressed file ended before the end-of-stream marker was reached"),
        (b"not an archive", "not a gzip file"),
        (b"", "empty file"),
        (tar({"../train.py": ""}), "which is outside the destination"),
    ],
    ids=["half", "text", "empty", "outside"],
)
def test_code_that_cannot_be_unpacked_fails_the_job(tmp_path: Path, archive: bytes, reason: str) -> None:
    """As the caller's fault, which no retry policy for internal errors tries again."""
    bench = Bench(tmp_path)
    request = bench.training("broken", "")
    bench.objects["s3://b/code/broken/sourcedir.tar.gz"] = archive
    job = bench.run("Training", request)
    assert job["FailureReason"].startswith(
        "ClientError: sagemaker_submit_directory /opt/ml/input/data/code/sourcedir.tar.gz is no folder and not a "
        "tar.gz archive that can be unpacked: "
    )
    assert reason in job["FailureReason"]
