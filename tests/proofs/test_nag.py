"""cdk-nag's AwsSolutions and the CDK's own rules: every finding has a reason, every reason a finding."""

import re

import pytest

from synthesis import Synthesis

pytestmark = pytest.mark.xdist_group("synthesis")

LOGS = "a log stream's name is the job's, decided when it starts"
OBJECTS = "keys below the project's own folder are decided by the run"
NO_RESOURCE = "holds only actions without resources, which test_least_privilege lists one by one"
PACKAGES = "a version's number is decided when it is registered"
RUN_NAMES = "made by runs, whose names start like this"
QUEUE = "is itself the dead-letter queue of rules, which this rule does not see"
TRACES = "calls services only, each in the execution's history; traces would add a grant on every resource"
ERRORS_ONLY = "keeps its own history of every event, so that only errors are logged"

_SCALABLE = "arn:aws:application-autoscaling:<here>:scalable-target/*"
_TRACKING = "arn:aws:cloudwatch:<here>:alarm:TargetTracking-endpoint/<environment>-census/*"

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
        "IAM5[Resource::arn:aws:states:<here>:execution:<environment>-census-outer-loop:*]": RUN_NAMES,
    },
    "Foundation/Reaper/Machine/Machine": {"SF1": ERRORS_ONLY, "SF2": TRACES},
    "Foundation/Reaper/Events/DeadLetters": {"SQS3": QUEUE},
    "CensusRegistry/Approvers": {
        "IAM5[Resource::<Artifacts>/census/executions/*/evaluate/*]": OBJECTS,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census/*]": PACKAGES,
    },
    "CensusInnerLoop/InnerLoop/Processing": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        "IAM5[Resource::arn:aws:ec2:<here>:network-interface/*]": "made by SageMaker; bound to the configured subnets",
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/ProcessingJobs:*]": LOGS,
    },
    "CensusInnerLoop/InnerLoop/Training": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        "IAM5[Resource::arn:aws:ec2:<here>:network-interface/*]": "made by SageMaker; bound to the configured subnets",
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/TrainingJobs:*]": LOGS,
    },
    "CensusInnerLoop/InnerLoop/Execution": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census/*]": PACKAGES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:processing-job/pipelines-*]": "named by SageMaker Pipelines",
        "IAM5[Resource::arn:aws:sagemaker:<here>:training-job/pipelines-*]": "named by SageMaker Pipelines",
    },
    "CensusInnerLoop/DataScientists": {
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/ProcessingJobs:*]": LOGS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/TrainingJobs:*]": LOGS,
        "IAM5[Resource::arn:aws:sagemaker:<here>:pipeline/<environment>-census--*]": "named by whoever makes the copy",
        "IAM5[Resource::arn:aws:sagemaker:<here>:processing-job/pipelines-*]": "named by SageMaker Pipelines",
        "IAM5[Resource::arn:aws:sagemaker:<here>:training-job/pipelines-*]": "named by SageMaker Pipelines",
    },
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
        "IAM5[Resource::<Data>/census/runs/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/snapshots/*]": OBJECTS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws-glue/*:*]": LOGS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws-glue/*]": "Glue names groups after role and configuration",
    },
    "CensusOuterLoop/Model": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/capture/*]": OBJECTS,
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::arn:aws:logs:<here>:log-group:/aws/sagemaker/Endpoints/<environment>-census:*]": LOGS,
    },
    "CensusOuterLoop/OuterLoop/Machine": {
        "IAM5[Resource::*]": NO_RESOURCE,
        "IAM5[Resource::<Artifacts>/census/executions/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/quarantine/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/raw/*]": OBJECTS,
        "IAM5[Resource::<Data>/census/runs/*]": OBJECTS,
        f"IAM5[Resource::{_SCALABLE}]": "the service decides a target's id; the action is conditioned on its tags",
        f"IAM5[Resource::{_TRACKING}]": "the service names the alarms of a scaling policy",
        "IAM5[Resource::arn:aws:cloudwatch:<here>:alarm:<environment>-census-model-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:endpoint-config/<environment>-census-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model-package/<environment>-census/*]": PACKAGES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:model/<environment>-census-*]": RUN_NAMES,
        "IAM5[Resource::arn:aws:sagemaker:<here>:pipeline/<environment>-census/execution/*]": RUN_NAMES,
    },
    "CensusOuterLoop/OuterLoop/Machine/Machine": {"SF1": ERRORS_ONLY, "SF2": TRACES},
    "CensusOuterLoop/OuterLoop/NewData/DeadLetters": {"SQS3": QUEUE},
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
