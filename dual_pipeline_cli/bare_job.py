"""A job without its container: arguments, environment, inputs and outputs of the process that it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dual_pipeline_local.sagemaker.jobs.script_mode import SUBMIT_DIRECTORY, Script

from .past_job import ROOT, PastJob

_TRAINING_OUTPUTS = {"model": f"{ROOT}/model", "data": f"{ROOT}/output/data", "checkpoints": f"{ROOT}/checkpoints"}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """An input: where the job saw it below /opt/ml, and its URI."""

    location: str
    uri: str


@dataclass(frozen=True, kw_only=True)
class BareJob:
    """A job without its container: arguments and environment still name /opt/ml.

    `spark` tells that it starts Spark.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    inputs: tuple[Channel, ...]
    outputs: Mapping[str, Channel]
    spark: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where paths of the container lie on this machine."""

    ml: Path
    output: Path
    outputs: Mapping[str, Channel]

    def rewrite(self, text: str) -> str:
        """The text with every path below /opt/ml replaced."""
        places = {channel.location: self.output / name for name, channel in self.outputs.items()} | {ROOT: self.ml}
        longest_first = sorted(places, key=len, reverse=True)
        pattern = rf"(?<![\w./-])({'|'.join(map(re.escape, longest_first))})(?=/|$|[\s'\":,;])"
        return re.sub(pattern, lambda match: str(places[match[1]]), text)


def bare_job(job: PastJob) -> BareJob:
    """A processing or training job as a process to be."""
    return _processing(job.record) if job.kind == "ProcessingJob" else _training(job.record)


def _processing(record: Mapping[str, Any]) -> BareJob:
    application = record["AppSpecification"]
    entrypoint: list[str] = application.get("ContainerEntrypoint", [])
    inputs = [
        Channel(location=entry["S3Input"]["LocalPath"], uri=entry["S3Input"]["S3Uri"])
        for entry in record.get("ProcessingInputs", [])
    ]
    return BareJob(
        arguments=tuple(application.get("ContainerArguments", [])),
        environment=record.get("Environment", {}),
        spark=any("spark" in word for word in entrypoint[:1]),
        # what the entrypoint names is the code, which comes from the working tree
        inputs=tuple(item for item in inputs if not any(f"{item.location}/" in word for word in entrypoint)),
        outputs={
            entry["OutputName"]: Channel(location=entry["S3Output"]["LocalPath"], uri=entry["S3Output"]["S3Uri"])
            for entry in record.get("ProcessingOutputConfig", {}).get("Outputs", [])
        },
    )


def _training(record: Mapping[str, Any]) -> BareJob:
    hyperparameters: Mapping[str, str] = record.get("HyperParameters", {})
    script = Script.of(hyperparameters)
    channels = [channel["ChannelName"] for channel in record.get("InputDataConfig", [])]
    variables = script.environment(
        job_name=record["TrainingJobName"],
        channels={name: {"TrainingInputMode": "File"} for name in channels},
        instance=record["ResourceConfig"].get("InstanceType", ""),
    )
    code = hyperparameters.get(SUBMIT_DIRECTORY, "").strip('"')
    inputs = [
        Channel(
            location=f"{ROOT}/input/data/{channel['ChannelName']}", uri=channel["DataSource"]["S3DataSource"]["S3Uri"]
        )
        for channel in record.get("InputDataConfig", [])
    ]
    artifacts: str = record.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
    return BareJob(
        arguments=tuple(script.arguments()),
        environment=variables | record.get("Environment", {}),
        inputs=tuple(item for item in inputs if not code.startswith(f"{item.location}/")),
        outputs={
            name: Channel(location=location, uri=artifacts if name == "model" else "")
            for name, location in _TRAINING_OUTPUTS.items()
        },
    )
