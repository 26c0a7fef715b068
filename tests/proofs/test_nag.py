"""cdk-nag's AwsSolutions and the CDK's own rules: every finding has a reason, every reason a finding."""

import re

import pytest

from synthesis import Synthesis

pytestmark = pytest.mark.xdist_group("synthesis")

LOGS = "a log stream's name is the job's, decided when it starts"
HASHES = "a file's name is its hash, and old ones are kept"
PIPELINES = "named by SageMaker Pipelines"
COPIES = "named by whoever makes the copy"
OBJECTS = "keys below the project's own folder are decided by the run"
NO_RESOURCE = "holds only actions without resources, which test_least_privilege lists one by one"
PACKAGES = "a version's number is decided when it is registered"
RUN_NAMES = "made by runs, whose names start like this"
QUEUE = "is itself the dead-letter queue of rules, which this rule does not see"
TRACES = "calls services only, each in the execution's history; traces would add a grant on every resource"
ERRORS_ONLY = "keeps its own history of every event, so that only errors are logged"
TARGET_ID = "the service decides a target's id; the action is conditioned on the dimension that scales"

_SCALABLE = "arn:aws:application-autoscaling:<here>:scalable-target/*"
_TRACKING = "arn:aws:cloudwatch:<here>:alarm:TargetTracking-endpoint/<environment>-census/*"


def artifacts(*folders: str) -> dict[str, str]:
    """Objects below folders of the artifact bucket."""
    return {
        f"IAM5[Resource::<Artifacts>/census/{folder}/*]": HASHES if folder == "code" else OBJECTS for folder in folders
    }


def job(logs: str, *folders: str, interface: bool = False) -> dict[str, str]:
    """What the role of every kind of job brings along, in a VPC its interfaces too."""
    interfaces = "IAM5[Resource::arn:aws:ec2:<here>:network-interface/*]"
    return {
        "IAM5[Resource::*]": NO_RESOURCE,
        **artifacts("code", *folders),
        f"IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/{logs}:*]": LOGS,
        **({interfaces: "made by SageMaker; bound to the configured subnets"} if interface else {}),
    }


def execution(*folders: str) -> dict[str, str]:
    """What the role of every pipeline brings along."""
    sagemaker = "arn:aws:sagemaker:<here>"
    return {
        "IAM5[Resource::*]": NO_RESOURCE,
        **artifacts("code", *folders),
        **{
            f"IAM5[Resource::{sagemaker}:hyper-parameter-tuning-job/*-{step}-*]": "too short a name for `pipelines-`"
            for step in ("Tune", "tune")
        },
        f"IAM5[Resource::{sagemaker}:processing-job/pipelines-*]": PIPELINES,
        f"IAM5[Resource::{sagemaker}:training-job/pipelines-*]": PIPELINES,
    }


def alone(stack: str, construct: str) -> dict[str, dict[str, str]]:
    """What training outside an inner loop brings along: the copies of its code, made by the CDK, and its jobs' role."""
    custom = f"{stack}/Custom::CDKBucketDeployment8693BB64968944B69AAFB0CC9EB8756C"
    return {
        custom: {"L1": "made by BucketDeployment"},
        f"{stack}/{construct}/Code/Copying": {"IAM5[Resource::<Artifacts>/census/code/*]": HASHES},
        f"{stack}/{construct}/Training": {
            **job("TrainingJobs", "executions"),
            "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        },
    }


MODEL = {
    "IAM5[Resource::*]": NO_RESOURCE,
    "IAM5[Resource::<Artifacts>/census/capture/*]": OBJECTS,
    "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
    "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/Endpoints/<environment>-census:*]": LOGS,
}
IN_BATCH = {
    "IAM5[Resource::<Artifacts>/census/scores/*]": OBJECTS,
    "IAM5[Resource::<Data>/census/batch/*]": OBJECTS,
    "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/TransformJobs:*]": LOGS,
}

READS_RUNS = {
    "IAM5[Resource::*]": NO_RESOURCE,
    **{
        f"IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/{kind}:*]": LOGS
        for kind in ("ProcessingJobs", "TrainingJobs", "TransformJobs")
    },
    **{
        f"IAM5[Resource::arn:aws:sagemaker:<here>:{kind}/*]": "jobs are read only, and their logs name them"
        for kind in ("hyper-parameter-tuning-job", "processing-job", "training-job", "transform-job")
    },
    "IAM5[Resource::arn:aws:sagemaker:<here>:endpoint-config/<environment>-census-*]": RUN_NAMES,
    "IAM5[Resource::arn:aws:sagemaker:<here>:model/<environment>-census-*]": RUN_NAMES,
    "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census--sandbox/*]": PACKAGES,
    "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census/*]": PACKAGES,
    "IAM5[Resource::arn:aws:sagemaker:<here>:pipeline/<environment>-census--*]": COPIES,
    "IAM5[Resource::arn:aws:sagemaker:<here>:pipeline/<environment>-census/*]": RUN_NAMES,
}

# By construct, and there by finding; `<...>` stands for what differs between environments.
ACKNOWLEDGED = {
    "Foundation/Resumer/Express": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::arn:aws:states:<here>:stateMachine:<environment>-*-outer-loop]": "resumes every project's loop",
    },
    "Foundation/Resumer/Express/Machine": {"SF2": TRACES},
    "Foundation/Resumer/Events/DeadLetters": {"SQS3": QUEUE},
    "Foundation/Reaper/Machine": {
        "IAM5[Resource::*]": NO_RESOURCE,
        f"IAM5[Resource::{_SCALABLE}]": TARGET_ID,
        "IAM5[Resource::arn:aws:sagemaker:<here>:endpoint-config/<environment>-census-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model/<environment>-census-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:pipeline/<environment>-census/execution/*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:states:<here>:execution:<environment>-census-outer-loop:*]": RUN_NAMES,
    },
    "Foundation/Reaper/Machine/Machine": {"SF1": ERRORS_ONLY, "SF2": TRACES},
    "Foundation/Reaper/Events/DeadLetters": {"SQS3": QUEUE},
    "Foundation/Triggers/Machine": {"IAM5[Resource::*]": NO_RESOURCE},
    "Foundation/Triggers/Machine/Machine": {"SF2": TRACES},
    "Foundation/Triggers/Events/DeadLetters": {"SQS3": QUEUE},
    "CensusRegistry/Approvers": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/executions/*/evaluate/*]": OBJECTS,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census/*]": PACKAGES,
    },
    # The CDK chooses the runtime of its own function.
    "CensusInnerLoop/Custom::CDKBucketDeployment8693BB64968944B69AAFB0CC9EB8756C": {"L1": "made by BucketDeployment"},
    "CensusInnerLoop/InnerLoop/Code/Copying": {"IAM5[Resource::<Artifacts>/census/code/*]": HASHES},
    "CensusInnerLoop/InnerLoop/Decide/Deciding": {
        "IAM5[Resource::<Artifacts>/census/executions/*/evaluate/*]": OBJECTS,
    },
    "CensusInnerLoop/InnerLoop/Processing": {
        **job("ProcessingJobs", "executions", interface=True),
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
    },
    "CensusInnerLoop/InnerLoop/Training": {
        **job("TrainingJobs", "executions", interface=True),
        "IAM5[Resource::<Artifacts>/census/checkpoints/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/snapshots/*/sample/*]": OBJECTS,
    },
    "CensusInnerLoop/InnerLoop/Scoring": {
        **job("TransformJobs", "executions", interface=True),
        "IAM5[Resource::<Data>/census/scoring/*]": OBJECTS,
    },
    "CensusInnerLoop/InnerLoop/Execution": {
        **execution("executions"),
        "IAM5[Resource::arn:aws:sagemaker:<here>:experiment-trial-component/pipelines-*]": PIPELINES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:experiment-trial/*]": "named by the execution's id",
        "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census/*]": PACKAGES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model/pipelines-*]": PIPELINES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:transform-job/pipelines-*]": PIPELINES,
    },
    "CensusInnerLoop/Sandbox/Processing": {
        **job("ProcessingJobs", "executions", "sandbox"),
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
    },
    "CensusInnerLoop/Sandbox/Training": job("TrainingJobs", "executions", "sandbox"),
    "CensusInnerLoop/Sandbox/Execution": {
        **execution("executions", "sandbox"),
        "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census--sandbox/*]": PACKAGES,
    },
    "CensusInnerLoop/Sandbox/Janitor": {
        "IAM5[Resource::arn:aws:sagemaker:<here>:pipeline/<environment>-census--*]": COPIES,
    },
    "CensusInnerLoop/DataScientists": {
        **READS_RUNS,
        **artifacts("code", "executions", "sandbox"),
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        "IAM5[Resource::arn:aws:scheduler:<here>:schedule/<environment>-census--sandbox/*]": COPIES,
    },
    "CensusOuterLoop/Operators": {
        **READS_RUNS,
        **artifacts("drift", "executions/*/evaluate", "runs"),
        "IAM5[Resource::arn:aws:cloudwatch:<here>:alarm:<environment>-*]": "reads alarms of the whole environment",
        "IAM5[Resource::arn:aws:glue:<here>:job/<environment>-census-*]": "the project's data jobs, read only",
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws-glue/jobs*:*]": LOGS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/Endpoints/<environment>-census:*]": LOGS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/vendedlogs/states/<environment>-*:*]": LOGS,
        **{
            f"IAM5[Resource::arn:aws:states:<here>:{kind}]": "runs have names of their own; the project's machines and the reaper"
            for kind in (
                "execution:<environment>-census-*:*",
                "execution:<environment>-reaper:*",
                "stateMachine:<environment>-census-*",
            )
        },
    },
    **alone("CensusOuterLoop", "Alone"),
    **alone("CensusWorkflows", "Training"),
    "CensusWorkflows/Model": MODEL,
    "CensusWorkflows/TrainSave/Machine": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model/<environment>-census-train-save-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:training-job/<environment>-census-train-save-*]": RUN_NAMES,
    },
    "CensusWorkflows/TrainSave/Machine/Machine": {"SF1": ERRORS_ONLY, "SF2": TRACES},
    "CensusOuterLoop/Data/IngestRole": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Data>/census/raw/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/runs/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws-glue/*:*]": LOGS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws-glue/*]": "Glue names groups after role and configuration",
    },
    "CensusOuterLoop/Data/QualityRole": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Data>/census/quality/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/quarantine/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/runs/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws-glue/*:*]": LOGS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws-glue/*]": "Glue names groups after role and configuration",
    },
    "CensusOuterLoop/Model": MODEL | IN_BATCH,
    "CensusOuterLoop/Drift/Job": {
        "IAM5[Resource::*]": NO_RESOURCE,
        **artifacts("capture", "drift", "executions"),
        "IAM5[Resource::<Data>/census/ground-truth/*]": OBJECTS,
        "IAM5[Resource::arn:aws:ec2:<here>:network-interface/*]": "made by SageMaker; bound to the configured subnets",
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/ProcessingJobs:*]": LOGS,
    },
    "CensusOuterLoop/Drift/Machine": {
        "IAM5[Resource::*]": NO_RESOURCE,
        **artifacts("drift"),
        "IAM5[Resource::arn:aws:sagemaker:<here>:processing-job/<environment>-census-drift-*]": RUN_NAMES,
    },
    "CensusOuterLoop/Drift/Machine/Machine": {"SF1": ERRORS_ONLY, "SF2": TRACES},
    "CensusOuterLoop/Drift/DeadLetters": {"SQS3": QUEUE},
    "CensusOuterLoop/OuterLoop/Machine": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::<Artifacts>/census/scores/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/quarantine/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/raw/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/runs/*]": OBJECTS,
        f"IAM5[Resource::{_SCALABLE}]": TARGET_ID,
        f"IAM5[Resource::{_TRACKING}]": "the service names the alarms of a scaling policy",
        "IAM5[Resource::arn:aws:sagemaker:<here>:endpoint-config/<environment>-census-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census/*]": PACKAGES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model/<environment>-census-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:pipeline/<environment>-census/execution/*]": RUN_NAMES,
        **{
            f"IAM5[Resource::arn:aws:sagemaker:<here>:{made}-*]": RUN_NAMES
            for made in (
                "training-job/<environment>-census-smoke",
                "training-job/<environment>-census-train",
                "model/<environment>-census-model",
                "model/<environment>-census-score",
                "transform-job/<environment>-census-score",
                "transform-job/<environment>-census-smoke",
            )
        },
        "IAM5[Resource::arn:aws:scheduler:<here>:schedule/<environment>-census-outer-loop/*]": "named by when they start",
    },
    "CensusOuterLoop/OuterLoop/Machine/Machine": {"SF1": ERRORS_ONLY, "SF2": TRACES},
    "CensusOuterLoop/OuterLoop/Preflight": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::arn:aws:sagemaker:<here>:endpoint-config/<environment>-census-*]": RUN_NAMES,
    },
    "CensusOuterLoop/OuterLoop/Preflight/Machine": {"SF2": TRACES},
    "CensusOuterLoop/OuterLoop/Traffic": {"IAM5[Resource::*]": NO_RESOURCE},
    "CensusOuterLoop/OuterLoop/Traffic/Machine": {"SF1": ERRORS_ONLY, "SF2": TRACES},
    "CensusOuterLoop/OuterLoop/DeadLetters": {"SQS3": QUEUE},
}


def canonical(rule: str, path: str) -> tuple[str, str]:
    """A finding's construct and name without what differs between environments, regions and projects."""
    stage, _, construct = path.partition("/")
    rule = rule.removeprefix("AwsSolutions-")
    rule = re.sub(r'(arn:aws:s3:::)?\{"Fn::GetStackOutput":.*?(Data|Artifacts)[0-9A-F]{8}\w*"\}\}', r"<\2>", rule)
    rule = re.sub(r"(eu-west-1|us-east-1):(<AWS::AccountId>|111122223333)", "<here>", rule)
    rule = rule.replace(f"{stage.lower()}-", "<environment>-").replace("census-two", "census")
    construct = re.sub(r"/(Role/DefaultPolicy/)?Resource$", "", construct).replace("CensusTwo", "Census")
    return construct, rule


def test_findings_are_acknowledged_one_by_one(synthesis: Synthesis) -> None:
    """No finding goes without a reason above, and no reason without a finding in some environment."""
    (report,) = [report for report in synthesis.report["pluginReports"] if report["pluginName"] == "AwsSolutions"]
    found = {
        canonical(violation["ruleName"], construct["constructPath"])
        for violation in report["violations"]
        for construct in violation["violatingConstructs"]
    }
    known = {(construct, rule) for construct, rules in ACKNOWLEDGED.items() for rule in rules}
    assert sorted(known) == sorted(found)


def test_other_rules_find_nothing(synthesis: Synthesis) -> None:
    """The CDK's own validation, which fails `cdk synth`, has nothing to say."""
    others = [report for report in synthesis.report["pluginReports"] if report["pluginName"] != "AwsSolutions"]
    assert [] == [violation for report in others for violation in report["violations"]]
