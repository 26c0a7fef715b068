"""A data scientist's corner of the local AWS: a bucket, a role that jobs run as, and small programs to run."""

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

BUCKET = "corner"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/any:1"
INFERENCE = """
import json, os, time
from sagemaker_inference.errors import GenericInferenceToolkitError

def model_fn(model_dir):
    with open(os.path.join(model_dir, "model.json")) as file:
        return json.load(file)

def input_fn(body, content_type):
    if content_type != "text/csv":
        raise GenericInferenceToolkitError(415, "cannot read " + content_type)
    return [float(line) for line in body.splitlines()]

def predict_fn(data, model):
    if model.get("raises"):
        raise RuntimeError(model["raises"])
    time.sleep(model.get("takes_s", 0))
    return [value * model["factor"] for value in data]

def output_fn(prediction, accept):
    return json.dumps({"predictions": prediction}), accept
"""


@dataclass
class Corner:
    """Clients of one emulator, and the ARN of a role that may do what SageMaker's own jobs need."""

    emulator: Any
    role: str

    def __post_init__(self) -> None:
        self.sagemaker = self.emulator.client("sagemaker")
        self.s3 = self.emulator.client("s3")
        self.runtime = self.emulator.client("sagemaker-runtime")

    def put(self, key: str, body: bytes | str) -> str:
        """Store an object and answer its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def get(self, uri: str) -> bytes:
        """The bytes of an object."""
        data: bytes = self.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
        return data

    def processing(self, name: str, code: str, *arguments: str, **more: Any) -> dict[str, Any]:
        """A CreateProcessingJob request that runs a Python program of one file."""
        uri = self.put(f"code/{name}.py", code)
        request = {
            "ProcessingJobName": name,
            "RoleArn": self.role,
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", f"/opt/ml/processing/input/code/{name}.py"],
                **({"ContainerArguments": list(arguments)} if arguments else {}),
            },
            "ProcessingInputs": [self.processing_input("code", uri), *more.pop("inputs", [])],
            "ProcessingOutputConfig": {"Outputs": more.pop("outputs", [])},
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
            },
        }
        return request | more

    def training(self, name: str, code: str, hyperparameters: dict[str, str], **more: Any) -> dict[str, Any]:
        """A CreateTrainingJob request in script mode, its code in a channel."""
        uri = self.put(f"code/{name}.tar.gz", self.archive({"train.py": code}))
        request = {
            "TrainingJobName": name,
            "RoleArn": self.role,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": f"/opt/ml/input/data/code/{name}.tar.gz",
                **hyperparameters,
            },
            "InputDataConfig": [self.channel("code", uri), *more.pop("channels", [])],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        return request | more

    def process(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a processing job to its end and describe it."""
        self.sagemaker.create_processing_job(**request)
        name = request["ProcessingJobName"]
        return self.wait_until(
            lambda: self.sagemaker.describe_processing_job(ProcessingJobName=name),
            lambda job: job["ProcessingJobStatus"] not in ("InProgress", "Stopping"),
        )

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a training job to its end and describe it."""
        self.sagemaker.create_training_job(**request)
        name = request["TrainingJobName"]
        return self.wait_until(
            lambda: self.sagemaker.describe_training_job(TrainingJobName=name),
            lambda job: job["TrainingJobStatus"] not in ("InProgress", "Stopping"),
        )

    def pipeline(self, name: str, *steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> str:
        """Create a pipeline of these steps."""
        text = json.dumps({"Version": "2020-12-01", "Parameters": parameters or [], "Steps": list(steps)})
        arn: str = self.sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=self.role)[
            "PipelineArn"
        ]
        return arn

    def execute(self, pipeline: str, **parameters: str) -> dict[str, Any]:
        """Run a pipeline to its end and describe the execution."""
        given = [{"Name": name, "Value": value} for name, value in parameters.items()]
        arn = self.sagemaker.start_pipeline_execution(PipelineName=pipeline, PipelineParameters=given)[
            "PipelineExecutionArn"
        ]
        return self.ended(arn)

    def ended(self, execution: str) -> dict[str, Any]:
        """Wait for the end of an execution and describe it."""
        return self.wait_until(
            lambda: self.sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution),
            lambda found: found["PipelineExecutionStatus"] not in ("Executing", "Stopping"),
        )

    def steps(self, execution: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The steps of an execution by name."""
        found = self.sagemaker.list_pipeline_execution_steps(
            PipelineExecutionArn=execution["PipelineExecutionArn"], SortOrder="Ascending", MaxResults=100
        )["PipelineExecutionSteps"]
        return {step["StepName"]: step for step in found}

    def model(self, name: str, content: dict[str, Any], *, inference: str = INFERENCE) -> str:
        """Create a model whose archive holds model.json and its serving code."""
        files = {"model.json": json.dumps(content), "code/inference.py": inference}
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": self.put(f"archives/{name}/model.tar.gz", self.archive(files)),
                "Environment": {
                    "SAGEMAKER_PROGRAM": "inference.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                },
            },
        )
        return name

    def config(self, model: str, *, capture: dict[str, Any] | None = None, **variant: Any) -> str:
        """An endpoint configuration of one variant, named as its model."""
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=model,
            **({"DataCaptureConfig": capture} if capture else {}),
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": model,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 2,
                    **variant,
                }
            ],
        )
        return model

    def settled(self, endpoint: str) -> dict[str, Any]:
        """Wait until an endpoint is in no transition and describe it."""
        return self.wait_until(
            lambda: self.sagemaker.describe_endpoint(EndpointName=endpoint),
            lambda found: found["EndpointStatus"] in ("InService", "Failed", "UpdateRollbackFailed"),
        )

    def predict(self, endpoint: str, body: str, content_type: str = "text/csv") -> Any:
        """Invoke an endpoint."""
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type)
        return json.loads(answer["Body"].read())

    @staticmethod
    def processing_input(name: str, uri: str) -> dict[str, Any]:
        """A ProcessingInput of one prefix."""
        return {
            "InputName": name,
            "S3Input": {
                "S3Uri": uri,
                "LocalPath": f"/opt/ml/processing/input/{name}",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }

    @staticmethod
    def processing_output(name: str, uri: str) -> dict[str, Any]:
        """A ProcessingOutput."""
        target = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/output/{name}", "S3UploadMode": "EndOfJob"}
        return {"OutputName": name, "S3Output": target}

    @staticmethod
    def channel(name: str, uri: str) -> dict[str, Any]:
        """An input channel of one prefix."""
        source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}}

    @staticmethod
    def archive(files: dict[str, str]) -> bytes:
        """A tar.gz of these files."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
        return buffer.getvalue()

    @staticmethod
    def wait_until(look: Callable[[], dict[str, Any]], is_done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Look until done, at most 60 seconds."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = look()
            if is_done(found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"still not done: {found}")


@pytest.fixture(scope="module")
def corner(emulator: Any) -> Iterator[Corner]:
    """A corner of the module's emulator."""
    emulator.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    role = emulator.role(
        "scientist",
        "sagemaker.amazonaws.com",
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{BUCKET}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
        {"Effect": "Allow", "Action": ["sagemaker:*", "cloudwatch:DescribeAlarms"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "arn:aws:iam::*:role/scientist",
            "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        },
    )
    yield Corner(emulator, role)
    if emulator.process.poll() is None:
        assert [] == emulator.unmapped()
