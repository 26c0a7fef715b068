"""The local SageMaker in this process, with buckets in a dictionary: requests for small jobs, and their end."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.service import SageMaker

ROLE = "arn:aws:iam::123456789012:role/scientist"
CALLER = Caller(arn="arn:aws:iam::123456789012:root", account="123456789012", region="eu-west-1")
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/any:1"
INFERENCE = """
import json, os
from sagemaker_inference.errors import GenericInferenceToolkitError

def model_fn(model_dir):
    with open(os.path.join(model_dir, "model.json")) as file:
        return json.load(file)["factor"]

def input_fn(body, content_type):
    try:
        return [float(line) for line in body.splitlines()]
    except ValueError:
        raise GenericInferenceToolkitError(400, "not numbers: " + body.strip())

def predict_fn(data, model):
    if -1.0 in data:
        raise RuntimeError("no answer to -1")
    return [value * model for value in data]

def output_fn(prediction, accept):
    return ",".join(str(value) for value in prediction), accept
"""


class Buckets:
    """An S3 client over a dictionary of URIs; what a test puts there is as old as the buckets."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._made = datetime.now(UTC)
        self._uploaded: dict[str, datetime] = {}

    def get_paginator(self, _operation: str) -> "Buckets":
        """Itself: all keys are one page."""
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        """The keys below a prefix in order, and when each was written."""
        base = f"s3://{Bucket}/"
        yield {
            "Contents": [
                {"Key": uri.removeprefix(base), "LastModified": self._uploaded.get(uri, self._made)}
                for uri in sorted(self.objects)
                if uri.startswith(base + Prefix)
            ]
        }

    def download_file(self, bucket: str, key: str, path: str) -> None:
        """Write an object to a file."""
        Path(path).write_bytes(self.objects[f"s3://{bucket}/{key}"])

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        """Read an object from a file."""
        uri = f"s3://{bucket}/{key}"
        self.objects[uri] = Path(path).read_bytes()
        self._uploaded[uri] = datetime.now(UTC)

    def head_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        """Refuse a key that is not there."""
        if f"s3://{Bucket}/{Key}" not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")


class Cloud:
    """Allows everything and remembers events."""

    def __init__(self) -> None:
        self.buckets = Buckets()
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def authorize(self, caller: Caller, action: str, resource: str, **_more: object) -> None:
        """Allowed."""

    def authorize_call(self, caller: Caller, operation: str, request: dict[str, Any]) -> None:
        """Allowed."""

    def client(self, role_arn: str, service: str, **_more: object) -> Any:
        """The buckets."""
        return self.buckets

    def environment(self, role_arn: str) -> Mapping[str, str]:
        """No credentials."""
        return {}

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
        """Remember."""
        self.events.append((detail_type, detail))

    def publish(self, *_metric: Any, **_unit: Any) -> None:
        """Nothing looks at metrics."""

    def __getattr__(self, name: str) -> Any:
        """What else pipelines ask for, which no job needs."""
        raise AssertionError(f"no job asks for {name}")


class Bench:
    """A SageMaker to try jobs on."""

    def __init__(self, work: Path, *, spot_interruptions: int = 0) -> None:
        self.work = work
        self.cloud = Cloud()
        self.objects = self.cloud.buckets.objects
        self.sagemaker = SageMaker(work=work, cloud=self.cloud, spot_interruptions=spot_interruptions)

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Call an operation."""
        return self.sagemaker.call(operation, request, CALLER)

    def run(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run a job to its end and describe it."""
        arn = self.call(f"Create{kind}Job", **request)[f"{kind}JobArn"]
        return self.sagemaker.wait(arn, timeout_s=60)

    def processing(self, name: str, code: str, *arguments: str, **more: Any) -> dict[str, Any]:
        """A processing job that runs a Python program of one file; `hosts` and `sharded` inputs as wished."""
        self.objects[f"s3://b/code/{name}/main.py"] = code.encode()
        inputs = {"code": f"s3://b/code/{name}/", **more.pop("inputs", {})}
        sharding = {"S3DataDistributionType": "ShardedByS3Key"} if more.pop("is_sharded", False) else {}
        return {
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/main.py"],
                **({"ContainerArguments": list(arguments)} if arguments else {}),
            },
            "ProcessingInputs": [
                {
                    "InputName": each,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/input/{each}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        **(sharding if each != "code" else {}),
                    },
                }
                for each, uri in inputs.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "all",
                        "S3Output": {
                            "S3Uri": f"s3://b/out/{name}",
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": more.pop("hosts", 1),
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 10,
                }
            },
            **more,
        }

    def training(self, name: str, code: str, **more: Any) -> dict[str, Any]:
        """A training job in script mode that prints `auc=<number>`."""
        definition = self._definition(name, code)
        hyperparameters = definition.pop("StaticHyperParameters") | more.pop("hyperparameters", {})
        return {"TrainingJobName": name, "HyperParameters": hyperparameters, **definition, **more}

    def tuning(self, name: str, code: str, **more: Any) -> dict[str, Any]:
        """A tuning job over `rate` from 0 to 10; config's members by keyword, `definition` changes the training jobs."""
        rate = {"Name": "rate", "MinValue": "0", "MaxValue": "10", "ScalingType": "Linear"}
        definition = self._definition(name, code) | more.pop("definition", {})
        limits = {"MaxNumberOfTrainingJobs": more.pop("jobs", 3), "MaxParallelTrainingJobs": more.pop("parallel", 1)}
        return {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"},
                "ResourceLimits": limits,
                "ParameterRanges": {"ContinuousParameterRanges": [rate]},
                **more,
            },
            "TrainingJobDefinition": definition,
        }

    def model(self, name: str, archive: bytes | None = None) -> str:
        """Create a model that multiplies by 2."""
        files = {"model.json": json.dumps({"factor": 2}), "code/inference.py": INFERENCE}
        uri = f"s3://b/models/{name}/model.tar.gz"
        self.objects[uri] = tar(files) if archive is None else archive
        container = {"Image": IMAGE, "ModelDataUrl": uri, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
        self.call("CreateModel", ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return name

    def transform(self, model: str, objects: Mapping[str, bytes], **more: Any) -> dict[str, Any]:
        """A transform job over these objects, named as its model; members of input and output as wished."""
        for key, body in objects.items():
            self.objects[f"s3://b/in/{model}/{key}"] = body
        source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://b/in/{model}/"}}}
        return {
            "TransformJobName": model,
            "ModelName": model,
            "TransformInput": {**source, "ContentType": "text/csv", **more.pop("source", {})},
            "TransformOutput": {"S3OutputPath": f"s3://b/out/{model}", "Accept": "text/csv", **more.pop("target", {})},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **more,
        }

    def _definition(self, name: str, code: str) -> dict[str, Any]:
        self.objects[f"s3://b/code/{name}/sourcedir.tar.gz"] = tar({"train.py": code})
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": f"s3://b/code/{name}/",
            "S3DataDistributionType": "FullyReplicated",
        }
        return {
            "RoleArn": ROLE,
            "StaticHyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz",
            },
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "auc", "Regex": "auc=([-0-9.]+)"}],
            },
            "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": "s3://b/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }


def tar(files: Mapping[str, str]) -> bytes:
    """A tar.gz of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
