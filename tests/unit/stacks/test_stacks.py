"""What an environment's stacks hold, read from the templates."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dual_pipeline.definition import all_steps
from dual_pipeline.sandbox_contract import output_name
from synthesis import Synthesis, joined

pytestmark = pytest.mark.xdist_group("synthesis")


def only(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (resource,) = resources.values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def job_steps(pipeline: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of a pipeline that make jobs or models."""
    definition = json.loads(joined(pipeline["Properties"]["PipelineDefinition"]["PipelineDefinitionBody"]))
    kinds = ("Processing", "Training", "Tuning", "Transform", "Model")
    return (step for step in all_steps(definition["Steps"]) if step["Type"] in kinds)


def test_stacks_of_a_project(synthesis: Synthesis) -> None:
    """An environment has two stacks of its own and four for each project, under the names that operators know."""
    kinds = ("Registry", "InnerLoop", "OuterLoop", "Monitoring")
    wanted = {
        "Most/Foundation",
        "Most/Watch",
        *(f"Most/{project}{kind}" for project in ("Census", "CensusTwo") for kind in kinds),
    }
    assert wanted == {path for path in synthesis.templates if path.startswith("Most/")}


@pytest.mark.parametrize(
    ("stack", "names"),
    [
        (
            "Foundation",
            {"DataBucketName", "ArtifactBucketName", "LedgerTableName", "NotificationTopicArn", "KeyArn"},
        ),
        ("CensusRegistry", {"ModelPackageGroupName"}),
        (
            "CensusInnerLoop",
            {
                "PipelineName",
                *(
                    output_name(name)
                    for name in (
                        "environment",
                        "cost_center",
                        "region",
                        "artifact_bucket",
                        "data_bucket",
                        "executions_folder",
                        "no_champion_uri",
                        "no_verdict_uri",
                        "kms_key_arn",
                        "model_package_group",
                        "processing_role_arn",
                        "training_role_arn",
                        "xgboost_image",
                        "sklearn_image",
                        "pipeline_role_arn",
                        "janitor_role_arn",
                        "schedule_group",
                    )
                ),
            },
        ),
        ("CensusOuterLoop", {"StateMachineArn", "RawDataUri", "EndpointName", "ApprovalMode"}),
    ],
)
def test_outputs(synthesis: Synthesis, stack: str, names: set[str]) -> None:
    """Each stack puts out what the command line reads, beside what other stacks take from it."""
    outputs = set(synthesis.templates[f"Dev/{stack}"]["Outputs"])
    assert names == {name for name in outputs if not name.startswith("PublishOutput")}


def test_names_that_operators_type(synthesis: Synthesis) -> None:
    """Machines, pipeline, group, jobs, dashboard and budget have the pinned names; test_alarms has those of alarms."""
    found = {
        resource["Properties"].get(name)
        for kind, name in (
            ("AWS::StepFunctions::StateMachine", "StateMachineName"),
            ("AWS::SageMaker::Pipeline", "PipelineName"),
            ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"),
            ("AWS::Glue::Job", "Name"),
            ("AWS::CloudWatch::Dashboard", "DashboardName"),
            ("AWS::Budgets::BudgetsAction", "BudgetName"),
        )
        for path, resource in synthesis.resources(kind).items()
        if path.startswith("Dev/")
    }
    assert {
        "dev-resumer",
        "dev-reaper",
        "dev-triggers",
        "dev-census-outer-loop",
        "dev-census-drift",
        "dev-census",
        "dev-census--sandbox",
        "dev-census-ingest",
        "dev-census-quality",
        "dev-dual-pipeline",
    } == found


def test_templates_differ_by_configuration_only(synthesis: Synthesis) -> None:
    """Every environment deploys the same kinds of resources; one may lack what it did not ask for."""
    kinds = {
        stage: {
            resource["Type"]
            for path, template in synthesis.templates.items()
            if path.startswith(f"{stage}/")
            for resource in template["Resources"].values()
        }
        for stage in ("Dev", "Staging", "Prod", "Least", "Most")
    }
    assert kinds["Dev"] == kinds["Staging"] == kinds["Prod"]
    assert {"AWS::Budgets::Budget", "AWS::Budgets::BudgetsAction"} == kinds["Prod"] - kinds["Least"]
    assert {"AWS::KMS::Key"} == kinds["Prod"] - kinds["Most"]
    assert {"AWS::SNS::Subscription"} == kinds["Most"] - kinds["Prod"]
    custom = {kind for kind in set().union(*kinds.values()) if "Lambda" in kind or "Custom" in kind}
    assert {"AWS::Lambda::Function", "AWS::Lambda::LayerVersion", "Custom::CDKBucketDeployment"} == custom


def test_pipeline_definition_parses(synthesis: Synthesis) -> None:
    """The pipeline is one Fn::Join which, once resolved, is JSON without a placeholder left in it."""
    for path, resource in synthesis.resources("AWS::SageMaker::Pipeline").items():
        body = resource["Properties"]["PipelineDefinition"]["PipelineDefinitionBody"]
        assert ["Fn::Join"] == list(body), path
        definition = json.loads(joined(body))
        assert "2020-12-01" == definition["Version"], path
        assert "placeholder" not in joined(body), path


def test_jobs_are_tagged(synthesis: Synthesis) -> None:
    """Every job and model carries environment, project, run and cost centre."""
    for path, resource in synthesis.resources("AWS::SageMaker::Pipeline").items():
        jobs = list(job_steps(resource))
        assert (8 if path.startswith("Most/CensusTwo") else 5) == len(jobs)
        for job in jobs:
            tags = {tag["Key"].removeprefix("dual-pipeline:"): tag["Value"] for tag in job["Arguments"]["Tags"]}
            assert {"environment", "project", "run", "cost-center"} == set(tags), path
            assert ("cc-42" if path.startswith("Most/") else "machine-learning") == tags["cost-center"], path


def test_jobs_run_in_the_vpc(synthesis: Synthesis) -> None:
    """With a VPC configured, every job and model is in it; a transform job runs where its model does."""
    network = {
        "Subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "SecurityGroupIds": ["sg-0123456789abcdef0"],
    }
    for path, resource in synthesis.resources("AWS::SageMaker::Pipeline").items():
        found = [
            next(
                (arguments[part] for part in ("NetworkConfig", "TrainingJobDefinition") if part in arguments), arguments
            ).get("VpcConfig")
            for step in job_steps(resource)
            if step["Type"] != "Transform"
            for arguments in [step["Arguments"]]
        ]
        assert (7 if path.startswith("Most/CensusTwo") else 5) == len(found)
        assert all(vpc == (network if path.startswith("Most/") else None) for vpc in found), path


def test_pipeline_waits_for_policies(synthesis: Synthesis) -> None:
    """The pipeline and the outer loop stand only after the policies of every role they use."""
    for stack, kind, least in (
        ("Dev/CensusInnerLoop", "AWS::SageMaker::Pipeline", 3),
        ("Dev/CensusOuterLoop", "AWS::StepFunctions::StateMachine", 4),
    ):
        resources = synthesis.templates[stack]["Resources"]
        (waiting, *_) = [resource for resource in resources.values() if resource["Type"] == kind]
        waited = {resources[id_]["Type"] for id_ in waiting["DependsOn"]}
        policies = [id_ for id_ in waiting["DependsOn"] if resources[id_]["Type"] == "AWS::IAM::Policy"]
        assert "AWS::IAM::Policy" in waited
        assert least <= len(policies)


def test_glue_jobs(synthesis: Synthesis) -> None:
    """Glue jobs state version and size, run once at a time, are never retried by Glue, and encrypt what they write."""
    jobs = synthesis.resources("AWS::Glue::Job", stack="Dev/CensusOuterLoop")
    assert 2 == len(jobs)
    for job in (resource["Properties"] for resource in jobs.values()):
        assert ("5.1", "G.1X", 2) == (job["GlueVersion"], job["WorkerType"], job["NumberOfWorkers"])
        assert (0, {"MaxConcurrentRuns": 1}, 60) == (job["MaxRetries"], job["ExecutionProperty"], job["Timeout"])
        assert "SecurityConfiguration" in job
        assert joined(job["Command"]["ScriptLocation"]).endswith(".py'}")
        assert joined(job["DefaultArguments"]["--extra-py-files"]).endswith(".zip'}")


def test_data_bucket_sends_events(synthesis: Synthesis) -> None:
    """The data bucket alone reports to EventBridge, through its own property."""
    senders = [
        path.split("/")[-1]
        for path, bucket in synthesis.resources("AWS::S3::Bucket", stack="Dev/Foundation").items()
        if bucket["Properties"].get("NotificationConfiguration")
        == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    ]
    assert ["Data666C94C7"] == senders


def test_alarms_speak_to_people(synthesis: Synthesis) -> None:
    """Every alarm tells the topic, stays quiet without data unless that is its subject, and names its runbook section."""
    alarms = synthesis.resources("AWS::CloudWatch::Alarm")
    assert alarms
    for path, alarm in alarms.items():
        properties = alarm["Properties"]
        assert 1 == len(properties["AlarmActions"]), path
        silent = properties["ComparisonOperator"] == "GreaterThanThreshold"
        assert ("notBreaching" if silent else "breaching") == properties["TreatMissingData"], path
        assert "see docs/runbook.md, section '" in properties["AlarmDescription"], path


def test_rollback_alarms(synthesis: Synthesis) -> None:
    """Rollback alarms watch the one variant's error rate, and its latency in microseconds."""
    alarms = {
        properties["AlarmName"]: (
            properties["MetricName"],
            properties.get("Statistic") or properties.get("ExtendedStatistic"),
            properties["Threshold"],
            properties["Dimensions"],
        )
        for properties in (
            alarm["Properties"]
            for alarm in synthesis.resources("AWS::CloudWatch::Alarm", stack="Dev/CensusOuterLoop").values()
        )
        if properties["Namespace"] == "AWS/SageMaker"
    }
    dimensions = [{"Name": "EndpointName", "Value": "dev-census"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    assert {
        "dev-census-5xx-rate": ("Invocation5XXErrors", "Average", 0.01, dimensions),
        "dev-census-p99-latency": ("ModelLatency", "p99", 500_000, dimensions),
    } == alarms


def test_budget_warns_the_topic(synthesis: Synthesis) -> None:
    """The budget covers what carries the environment's tag and warns of costs reached and of costs to come."""
    budget = only(synthesis.resources("AWS::Budgets::Budget", stack="Dev/Foundation"))
    assert {"Amount": 200, "Unit": "USD"} == budget["Budget"]["BudgetLimit"]
    assert {"TagKeyValue": ["user:dual-pipeline:environment$dev"]} == budget["Budget"]["CostFilters"]
    assert [("ACTUAL", 80), ("FORECASTED", 100)] == [
        (warning["Notification"]["NotificationType"], warning["Notification"]["Threshold"])
        for warning in budget["NotificationsWithSubscribers"]
    ]


def test_existing_role_is_used_and_left_alone(synthesis: Synthesis) -> None:
    """A configured role is what the endpoint's models run as, and no policy is attached to it."""
    template = synthesis.templates["Most/CensusOuterLoop"]["Resources"]
    assert not any(id_.startswith("ModelRole") for id_ in template)
    assert "arn:aws:iam::111122223333:role/platform/model" in json.dumps(template)
