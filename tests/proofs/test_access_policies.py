"""What data scientists, approvers and operators may do: the synthesized policies, asked through the emulator's IAM evaluator."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from dual_pipeline_local import ministack
from synthesis import Synthesis, Template

pytestmark = pytest.mark.xdist_group("synthesis")

ACCOUNT = "123456789012"
REGION = "eu-west-1"
SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
SCHEDULE = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule"
LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker"
COPY = f"{SAGEMAKER}:pipeline/dev-census--ann"
PRODUCTION = f"{SAGEMAKER}:pipeline/dev-census"
PACKAGE = f"{SAGEMAKER}:model-package/dev-census/3"
ANOTHER_PACKAGE = f"{SAGEMAKER}:model-package/dev-other/3"
TO_SAGEMAKER = {"iam:PassedToService": "sagemaker.amazonaws.com"}
TO_SCHEDULER = {"iam:PassedToService": "scheduler.amazonaws.com"}
NEW = {"s3:if-none-match": "*"}
APPROVED = {"sagemaker:ModelApprovalStatus": "Approved"}

Row = tuple[str, str, Mapping[str, str]]

DATA_SCIENTIST_MAY: list[Row] = [
    *(
        (f"sagemaker:{action}", COPY, {})
        for action in ("CreatePipeline", "UpdatePipeline", "DeletePipeline", "StartPipelineExecution", "AddTags")
    ),
    ("sagemaker:StopPipelineExecution", f"{COPY}/execution/abc", {}),
    ("sagemaker:RetryPipelineExecution", f"{COPY}/execution/abc", {}),
    ("sagemaker:ListPipelines", "*", {}),
    ("sagemaker:DescribePipeline", PRODUCTION, {}),
    ("sagemaker:DescribePipelineDefinitionForExecution", f"{PRODUCTION}/execution/abc", {}),
    ("sagemaker:DescribeTrainingJob", f"{SAGEMAKER}:training-job/pipelines-abc-Train-1", {}),
    ("sagemaker:DescribeModelPackage", PACKAGE, {}),
    ("sagemaker:ListModelPackages", "*", {}),
    ("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/dev-census", {}),
    ("sagemaker:DescribeEndpointConfig", f"{SAGEMAKER}:endpoint-config/dev-census-1234", {}),
    ("dynamodb:GetItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("dynamodb:Query", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("iam:PassRole", "{SandboxPipelineRoleArn}", TO_SAGEMAKER),
    ("iam:PassRole", "{SandboxJanitorRoleArn}", TO_SCHEDULER),
    ("s3:PutObject", "{artifacts}/census/code/1234.zip", NEW),
    ("s3:GetObject", "{data}/census/snapshots/1/data/part-0.parquet", {}),
    ("s3:GetObject", "{artifacts}/census/executions/abc/evaluate/evaluation/evaluation.json", {}),
    ("s3:GetObject", "{artifacts}/census/sandbox/abc/train/model.tar.gz", {}),
    ("s3:ListBucket", "{artifacts}", {"s3:prefix": "census/sandbox/abc/"}),
    ("logs:GetLogEvents", f"{LOGS}/TrainingJobs:log-stream:pipelines-abc", {}),
    ("scheduler:CreateSchedule", f"{SCHEDULE}/dev-census--sandbox/dev-census--ann", {}),
    ("scheduler:DeleteSchedule", f"{SCHEDULE}/dev-census--sandbox/dev-census--ann", {}),
]
DATA_SCIENTIST_MAY_NOT: list[Row] = [
    *(
        (f"sagemaker:{action}", PRODUCTION, {})
        for action in ("CreatePipeline", "UpdatePipeline", "DeletePipeline", "StartPipelineExecution")
    ),
    ("sagemaker:StopPipelineExecution", f"{PRODUCTION}/execution/abc", {}),
    ("sagemaker:StartPipelineExecution", f"{SAGEMAKER}:pipeline/dev-other--ann", {}),
    ("sagemaker:UpdateModelPackage", PACKAGE, APPROVED),
    ("sagemaker:CreateModelPackage", PACKAGE, APPROVED),
    ("sagemaker:CreateTrainingJob", f"{SAGEMAKER}:training-job/pipelines-abc", {}),
    ("sagemaker:UpdateEndpoint", f"{SAGEMAKER}:endpoint/dev-census", {}),
    ("sagemaker:InvokeEndpoint", f"{SAGEMAKER}:endpoint/dev-census", {}),
    ("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/dev-other", {}),
    ("dynamodb:GetItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#other"}),
    ("dynamodb:PutItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:dev-census-outer-loop", {}),
    ("iam:PassRole", "{SandboxPipelineRoleArn}", TO_SCHEDULER),
    ("iam:PassRole", "{SandboxJanitorRoleArn}", TO_SAGEMAKER),
    ("iam:PassRole", "{SandboxTrainingRoleArn}", TO_SAGEMAKER),
    ("iam:PassRole", "{production}", TO_SAGEMAKER),
    ("s3:PutObject", "{artifacts}/census/code/1234.zip", {}),
    ("s3:PutObject", "{artifacts}/census/executions/abc/train/model.tar.gz", NEW),
    ("s3:PutObject", "{artifacts}/census/sandbox/abc/train/model.tar.gz", NEW),
    ("s3:PutObject", "{data}/census/snapshots/1/data/part-0.parquet", NEW),
    ("s3:DeleteObject", "{artifacts}/census/code/1234.zip", {}),
    ("s3:GetObject", "{data}/census/raw/census.csv", {}),
    ("s3:GetObject", "{artifacts}/other/executions/abc/train/model.tar.gz", {}),
    ("scheduler:CreateSchedule", f"{SCHEDULE}/default/dev-census--ann", {}),
    ("scheduler:DeleteScheduleGroup", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/dev-census--sandbox", {}),
]
APPROVER_MAY: list[Row] = [
    ("sagemaker:DescribeModelPackage", PACKAGE, {}),
    ("sagemaker:ListModelPackages", "*", {}),
    ("sagemaker:UpdateModelPackage", PACKAGE, APPROVED),
    ("sagemaker:UpdateModelPackage", PACKAGE, {"sagemaker:ModelApprovalStatus": "Rejected"}),
    ("s3:GetObject", "{artifacts}/census/executions/abc/evaluate/evaluation/report.html", {}),
    ("s3:GetObject", "{artifacts}/census/executions/abc/evaluate/evaluation/evaluation.json", {}),
    ("cloudformation:DescribeStacks", "*", {}),
    ("dynamodb:GetItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
]
APPROVER_MAY_NOT: list[Row] = [
    ("sagemaker:UpdateModelPackage", PACKAGE, {}),
    ("sagemaker:UpdateModelPackage", PACKAGE, {"sagemaker:ModelApprovalStatus": "PendingManualApproval"}),
    ("sagemaker:UpdateModelPackage", ANOTHER_PACKAGE, APPROVED),
    ("sagemaker:UpdateModelPackage", f"{SAGEMAKER}:model-package/dev-census--sandbox/1", APPROVED),
    ("sagemaker:DeleteModelPackage", PACKAGE, {}),
    ("dynamodb:GetItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#other"}),
    ("dynamodb:Query", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("dynamodb:PutItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("dynamodb:UpdateItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:dev-census-outer-loop", {}),
    ("sagemaker:CreateModelPackage", PACKAGE, APPROVED),
    ("sagemaker:StartPipelineExecution", PRODUCTION, {}),
    ("s3:GetObject", "{artifacts}/census/executions/abc/train/model.tar.gz", {}),
    ("s3:GetObject", "{data}/census/snapshots/1/data/part-0.parquet", {}),
    ("iam:PassRole", "{production}", TO_SAGEMAKER),
]


LOOP = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:dev-census-outer-loop"
RUN = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:dev-census-outer-loop:1"
OPERATOR_MAY: list[Row] = [
    ("states:StartExecution", LOOP, {}),
    ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:dev-reaper", {}),
    ("states:ListExecutions", LOOP, {}),
    ("states:GetExecutionHistory", RUN, {}),
    ("states:StopExecution", RUN, {}),
    ("states:DescribeExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:execution:dev-census-drift:1", {}),
    ("dynamodb:GetItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("dynamodb:Query", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("sagemaker:ListPipelineExecutionSteps", f"{PRODUCTION}/execution/abc", {}),
    ("sagemaker:DescribeModelPackage", PACKAGE, {}),
    ("sagemaker:DescribeEndpoint", f"{SAGEMAKER}:endpoint/dev-census", {}),
    ("cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:dev-census-drift", {}),
    ("glue:GetJobRun", f"arn:aws:glue:{REGION}:{ACCOUNT}:job/dev-census-ingest", {}),
    ("logs:FilterLogEvents", f"{LOGS}/Endpoints/dev-census:log-stream:AllTraffic", {}),
    ("s3:GetObject", "{artifacts}/census/drift/2026-11-20-abc/report.html", {}),
    ("cloudformation:DescribeStacks", "*", {}),
]
OPERATOR_MAY_NOT: list[Row] = [
    ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:dev-other-outer-loop", {}),
    ("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:prod-census-outer-loop", {}),
    ("states:RedriveExecution", RUN, {}),
    ("states:UpdateStateMachine", LOOP, {}),
    ("sagemaker:UpdateModelPackage", PACKAGE, APPROVED),
    ("sagemaker:StartPipelineExecution", PRODUCTION, {}),
    ("sagemaker:UpdateEndpoint", f"{SAGEMAKER}:endpoint/dev-census", {}),
    ("sagemaker:DeleteEndpoint", f"{SAGEMAKER}:endpoint/dev-census", {}),
    ("dynamodb:UpdateItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#census"}),
    ("dynamodb:GetItem", "{ledger}", {"dynamodb:LeadingKeys": "PROJECT#other"}),
    ("cloudwatch:DeleteAlarms", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:dev-census-drift", {}),
    ("s3:GetObject", "{data}/census/snapshots/1/data/part-0.parquet", {}),
    ("s3:GetObject", "{artifacts}/census/executions/abc/train/model.tar.gz", {}),
    ("iam:PassRole", "{production}", TO_SAGEMAKER),
]


class Resolver:
    """Values of a template as a deployment would fill them in."""

    def __init__(self, synthesis: Synthesis, stack: str) -> None:
        self._synthesis = synthesis
        self._template: Template = synthesis.templates[stack]

    def output(self, name: str) -> str:
        return str(self(self._template["Outputs"][name]["Value"]))

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(self(part) for part in parts)
            case {"Ref": "AWS::AccountId"}:
                return ACCOUNT
            case {"Ref": name}:
                return str(name).lower()
            case {"Fn::GetAtt": [name, _]}:
                return self._arn(name)
            case {"Fn::GetStackOutput": {"StackName": stack, "OutputName": output}}:
                return Resolver(self._synthesis, stack.replace("-", "/", 1)).output(output)
        return {key: self(item) for key, item in value.items()}

    def _arn(self, name: str) -> str:
        resource = self._template["Resources"][name]
        match resource["Type"]:
            case "AWS::S3::Bucket":
                return f"arn:aws:s3:::{name.lower()}"
            case "AWS::DynamoDB::Table":
                return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name.lower()}"
            case "AWS::KMS::Key":
                return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}"
            case "AWS::SageMaker::ModelPackageGroup":
                return f"{SAGEMAKER}:model-package-group/{resource['Properties']['ModelPackageGroupName']}"
            case _:
                return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def policy(synthesis: Synthesis, stack: str) -> dict[str, Any]:
    """The one managed policy of a stack, resolved."""
    (found,) = synthesis.resources("AWS::IAM::ManagedPolicy", stack=stack).values()
    document: dict[str, Any] = Resolver(synthesis, stack)(found["Properties"]["PolicyDocument"])
    return document


def allows(synthesis: Synthesis, stack: str, row: Row) -> bool:
    """Whether the stack's policy allows an action on a resource under these condition keys."""
    action, resource, context = row
    foundation, inner = Resolver(synthesis, "Dev/Foundation"), Resolver(synthesis, "Dev/CensusInnerLoop")
    names = {name: inner.output(name) for name in inner._template["Outputs"] if name.endswith("RoleArn")}
    names |= {
        "data": f"arn:aws:s3:::{foundation.output('DataBucketName')}",
        "artifacts": f"arn:aws:s3:::{foundation.output('ArtifactBucketName')}",
        "ledger": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{foundation.output('LedgerTableName')}",
        "production": production_role(inner),
    }
    evaluator = ministack.load("core.iam_evaluator")
    request = evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/person/session",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource.format_map(names),
        region=REGION,
        secure_transport=True,
        service_context={key.lower(): value for key, value in context.items()},
    )
    statements = evaluator.parse_policy_document(json.dumps(policy(synthesis, stack)))
    return bool(evaluator.evaluate(request, [statements]).decision == "Allow")


def production_role(inner: Resolver) -> str:
    """The role that the deployed pipeline runs as."""
    (pipeline,) = [
        resource for resource in inner._template["Resources"].values() if resource["Type"] == "AWS::SageMaker::Pipeline"
    ]
    return str(inner(pipeline["Properties"]["RoleArn"]))


PEOPLE = {
    "Dev/CensusInnerLoop": (DATA_SCIENTIST_MAY, DATA_SCIENTIST_MAY_NOT),
    "Dev/CensusRegistry": (APPROVER_MAY, APPROVER_MAY_NOT),
    "Dev/CensusOuterLoop": (OPERATOR_MAY, OPERATOR_MAY_NOT),
}


def rows(which: int) -> list[Any]:
    """Each row of the tables with the stack whose policy it is asked of."""
    return [
        pytest.param(stack, row, id=f"{stack[4:]} {row[0]} {row[1][-40:]}")
        for stack, tables in PEOPLE.items()
        for row in tables[which]
    ]


@pytest.mark.parametrize(("stack", "row"), rows(0))
def test_people_may(synthesis: Synthesis, stack: str, row: Row) -> None:
    """Data scientists run copies as the sandbox and read what runs left, approvers look and decide, operators start,
    stop and explain runs.
    """
    assert allows(synthesis, stack, row)


@pytest.mark.parametrize(("stack", "row"), rows(1))
def test_people_may_not(synthesis: Synthesis, stack: str, row: Row) -> None:
    """Data scientists and operators change nothing that is deployed and approve nothing, approvers change nothing of a
    model but its approval; nobody sees another project, and approvers and operators see neither data nor models.
    """
    assert not allows(synthesis, stack, row)


def test_without_a_sandbox_nothing_can_be_started(synthesis: Synthesis) -> None:
    """In an environment without sandboxes data scientists only read."""
    actions = {
        action
        for statement in policy(synthesis, "Prod/CensusInnerLoop")["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    verbs = ("Describe", "Filter", "Get", "List", "Query")
    assert {"kms:Decrypt"} == {action for action in actions if not action.split(":")[1].startswith(verbs)}


@pytest.mark.parametrize("stack", ["Dev/CensusInnerLoop", "Dev/CensusRegistry", "Dev/CensusOuterLoop"])
def test_policies_fit(synthesis: Synthesis, stack: str) -> None:
    """With the longest names a managed policy stays below IAM's 6,144 characters, white space apart."""
    text = json.dumps(policy(synthesis, stack), separators=(",", ":"))
    longest = text.replace("dev-census", "e" * 12 + "-" + "p" * 24).replace("/census/", f"/{'p' * 24}/")
    # Names that CloudFormation makes may be longer than the logical ids that stand for them here.
    made = 64 * (longest.count(":role/") + longest.count(":s3:::"))
    assert len(longest) + made <= 6_144


def test_the_janitor_only_deletes_copies(synthesis: Synthesis) -> None:
    """What Scheduler acts as may delete personal copies and nothing else."""
    (found,) = [
        resource["Properties"]["PolicyDocument"]["Statement"]
        for path, resource in synthesis.resources("AWS::IAM::Policy", stack="Dev/CensusInnerLoop").items()
        if "SandboxJanitor" in path
    ]
    (statement,) = found
    assert "sagemaker:DeletePipeline" == statement["Action"]
    assert f"{SAGEMAKER}:pipeline/dev-census--*" == Resolver(synthesis, "Dev/CensusInnerLoop")(statement["Resource"])


@pytest.mark.parametrize("role", ["Processing", "Training"])
def test_sandbox_jobs_write_apart(synthesis: Synthesis, role: str) -> None:
    """Jobs of copies write below `<project>/sandbox/` of the artifact bucket and nowhere else."""
    resolve = Resolver(synthesis, "Dev/CensusInnerLoop")
    (statements,) = [
        resource["Properties"]["PolicyDocument"]["Statement"]
        for path, resource in synthesis.resources("AWS::IAM::Policy", stack="Dev/CensusInnerLoop").items()
        if f"/Sandbox{role}Role" in path
    ]
    written = [resolve(s["Resource"]) for s in statements if "s3:PutObject" in s["Action"]]
    bucket = Resolver(synthesis, "Dev/Foundation").output("ArtifactBucketName")
    assert [f"arn:aws:s3:::{bucket}/census/sandbox/*"] == written
