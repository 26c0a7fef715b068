"""Tuning, transform, Spot and Spark jobs in a running emulator: roles, S3 and real engines."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

SPARK_IMAGE = "571004829621.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-spark-processing:3.5-cpu-py39-v1"
PROFILE = """
import argparse, json, pathlib
from pyspark.sql import SparkSession

parser = argparse.ArgumentParser()
parser.add_argument("--input-data", required=True)
parser.add_argument("--output-profile", required=True)
options = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
told = {}
for scheme in ("file://", ""):
    try:
        told[scheme] = spark.read.csv(scheme + options.input_data, header=True).count()
    except Exception as error:
        told[scheme] = type(error).__name__
pathlib.Path(options.output_profile, "profile.json").write_text(json.dumps(told))
"""
PEAK = """
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
rate = parser.parse_args().rate
pathlib.Path(os.environ["SM_MODEL_DIR"], "rate").write_text(str(rate))
print(f"auc={-abs(rate - 3):.6f}")
"""


def _tuning(corner: Any, name: str, role: str) -> dict[str, Any]:
    request = corner.training(name, PEAK, {})
    del request["TrainingJobName"]
    algorithm = request["AlgorithmSpecification"] | {"MetricDefinitions": [{"Name": "auc", "Regex": "auc=([-0-9.]+)"}]}
    static = request.pop("HyperParameters")
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "9"}]},
            "RandomSeed": 17,
        },
        "TrainingJobDefinition": {
            **request,
            "RoleArn": role,
            "AlgorithmSpecification": algorithm,
            "StaticHyperParameters": static,
        },
        "Tags": [{"Key": "project", "Value": "census"}],
    }


def test_tuning_trains_as_the_role_and_passes_tags_on(corner: Any) -> None:
    """The best training job's model lies in S3, and it carries the tuning job's tags."""
    corner.sagemaker.create_hyper_parameter_tuning_job(**_tuning(corner, "tune", corner.role))
    job = corner.wait_until(
        lambda: corner.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune"),
        lambda found: found["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert "Completed" == job["HyperParameterTuningJobStatus"], job
    assert 6 == job["TrainingJobStatusCounters"]["Completed"]
    best = corner.sagemaker.describe_training_job(TrainingJobName=job["BestTrainingJob"]["TrainingJobName"])
    assert corner.get(best["ModelArtifacts"]["S3ModelArtifacts"])
    tags = corner.sagemaker.list_tags(ResourceArn=best["TrainingJobArn"])["Tags"]
    assert [{"Key": "project", "Value": "census"}] == tags


def test_tuning_needs_a_role_that_may_be_passed(corner: Any) -> None:
    """A caller who may not pass the trials' role is refused, as is a role that does not trust SageMaker."""
    other = corner.emulator.role("stranger", "glue.amazonaws.com")
    with pytest.raises(ClientError, match="Could not assume role"):
        corner.sagemaker.create_hyper_parameter_tuning_job(**_tuning(corner, "stranger", other))


def test_transform_writes_what_the_model_answers(corner: Any) -> None:
    """Objects are read and predictions written as the model's execution role."""
    corner.put("rows/a.csv", "1\n2\n")
    request = {
        "TransformJobName": "score",
        "ModelName": corner.model("thrice", {"factor": 3}),
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://corner/rows/"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": "s3://corner/scores",
            "Accept": "application/json",
            "AssembleWith": "Line",
            "KmsKeyId": "alias/data",
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    corner.sagemaker.create_transform_job(**request)
    job = corner.wait_until(
        lambda: corner.sagemaker.describe_transform_job(TransformJobName="score"),
        lambda found: found["TransformJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert "Completed" == job["TransformJobStatus"], job
    assert b'{"predictions": [3.0]}\n{"predictions": [6.0]}\n' == corner.get("s3://corner/scores/a.csv.out")
    request["TransformOutput"] = {"S3OutputPath": "s3://elsewhere/scores"}
    corner.sagemaker.create_transform_job(**request | {"TransformJobName": "denied"})
    denied = corner.wait_until(
        lambda: corner.sagemaker.describe_transform_job(TransformJobName="denied"),
        lambda found: found["TransformJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert denied["FailureReason"].startswith("ClientError: Failed to upload")


def test_an_endpoint_of_a_model_that_is_none_fails(corner: Any) -> None:
    """The archive is named, not a Python error."""
    broken = corner.put("archives/none/model.tar.gz", b"this is no archive")
    corner.sagemaker.create_model(
        ModelName="none", ExecutionRoleArn=corner.role, PrimaryContainer={"Image": "x", "ModelDataUrl": broken}
    )
    corner.sagemaker.create_endpoint(EndpointName="none", EndpointConfigName=corner.config("none"))
    found = corner.settled("none")
    assert "Failed" == found["EndpointStatus"]
    assert f"model data {broken} is not a tar.gz archive that can be unpacked" in found["FailureReason"]


@pytest.mark.spark
def test_the_spark_image_submits_to_a_real_spark(corner: Any) -> None:
    """smspark-submit runs PySpark on local files under file://; a path without a scheme is one of HDFS, as on AWS."""
    corner.put("table/a.csv", "x\n1\n2\n")
    request = corner.processing(
        "rows",
        PROFILE,
        "/opt/ml/processing/input/code/rows.py",
        "--input-data=/opt/ml/processing/input/table",
        "--output-profile=/opt/ml/processing/output/profile",
        inputs=[corner.processing_input("table", "s3://corner/table/")],
        outputs=[corner.processing_output("profile", "s3://corner/profile")],
    )
    request["AppSpecification"] |= {"ImageUri": SPARK_IMAGE, "ContainerEntrypoint": ["smspark-submit"]}
    job = corner.process(request)
    assert "Completed" == job["ProcessingJobStatus"], job
    told = json.loads(corner.get("s3://corner/profile/profile.json"))
    assert 2 == told.pop("file://")
    assert {"": "IllegalArgumentException"} == told


def test_smspark_submit_is_in_the_spark_image_only(corner: Any) -> None:
    """Any other image lacks the command."""
    request = corner.processing("no-spark", "", "/opt/ml/processing/input/code/no-spark.py")
    request["AppSpecification"]["ContainerEntrypoint"] = ["smspark-submit"]
    job = corner.process(request)
    assert "AlgorithmError: smspark-submit: No such file or directory, exit code: 127" == job["FailureReason"]
