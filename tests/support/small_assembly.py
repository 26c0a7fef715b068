"""A cloud assembly of one environment, written by hand, whose costs can be worked out on paper."""

import json
from pathlib import Path
from typing import Any

Resources = dict[str, dict[str, Any]]

INGEST = {"Name": "dev-census-ingest", "WorkerType": "G.1X", "NumberOfWorkers": 2, "Timeout": 60}
CAP = "the cap of 4 runs a day (limits.runs_per_day) is used up"


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    """A resource of a template."""
    return {"Type": kind, "Properties": properties}


def pipeline(*steps: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """A SageMaker pipeline with these steps and defaults."""
    definition = {
        "Parameters": [{"Name": name, "DefaultValue": value} for name, value in parameters.items()],
        "Steps": steps,
    }
    body = json.dumps(definition)
    return resource(
        "AWS::SageMaker::Pipeline", PipelineDefinition={"PipelineDefinitionBody": {"Fn::Join": ["", [body]]}}
    )


def machine(name: str, **states: dict[str, Any]) -> dict[str, Any]:
    """A state machine."""
    definition = {"States": states}
    return resource("AWS::StepFunctions::StateMachine", StateMachineName=name, DefinitionString=json.dumps(definition))


def training(instance: Any, *, limit_s: Any = 3600, spot: bool = False) -> dict[str, Any]:
    """The arguments of a training job."""
    return {
        "ResourceConfig": {"InstanceType": instance, "InstanceCount": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": limit_s},
        "EnableManagedSpotTraining": spot,
    }


def outer_loop(*, most: int = 5, watched: bool = True) -> dict[str, Any]:
    """An outer loop that ingests, starts the pipeline and makes an endpoint of two to `most` instances."""
    alarm = {"SetAlarms": {"Resource": "arn:aws:states:::aws-sdk:cloudwatch:putMetricAlarm"}} if watched else {}
    return machine(
        "dev-census-outer-loop",
        **alarm,
        IngestData={"Resource": "arn:aws:states:::glue:startJobRun.sync", "Arguments": {"JobName": INGEST["Name"]}},
        Train={"Resource": "arn:aws:states:::aws-sdk:sagemaker:startPipelineExecution", "Comment": CAP},
        Configure={
            "Resource": "arn:aws:states:::aws-sdk:sagemaker:createEndpointConfig",
            "Arguments": {
                "ProductionVariants": [
                    {"InstanceType": "ml.m5.large", "InitialInstanceCount": "{% $max([$liveCount, 2]) %}"}
                ]
            },
        },
        Scale={
            "Resource": "arn:aws:states:::aws-sdk:applicationautoscaling:registerScalableTarget",
            "Arguments": {"MinCapacity": 2, "MaxCapacity": most},
        },
    )


def write_assembly(folder: Path, *, shared: Resources, own: Resources, region: str = "eu-west-1") -> Path:
    """`dev` with the project census; its folder."""
    artifacts = {}
    for name, project, resources in (("Foundation", None, shared), ("CensusOuterLoop", "census", own)):
        template = folder / f"Dev{name}.template.json"
        template.parent.mkdir(parents=True, exist_ok=True)
        template.write_text(json.dumps({"Resources": resources}))
        tags = {"dual-pipeline:environment": "dev", **({"dual-pipeline:project": project} if project else {})}
        artifacts[f"Dev{name}"] = {
            "type": "aws:cloudformation:stack",
            "environment": f"aws://unknown-account/{region}",
            "displayName": f"Dev/{name}",
            "properties": {"templateFile": template.name, "stackName": f"Dev-{name}", "tags": tags},
        }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return folder
