"""The other half of AwaitStatus: wakes the machine that waits for the operation an event speaks of."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from dual_pipeline.asl import DYNAMODB_ERRORS, State, Statement, catch, choice, jsonata, retry, task
from dual_pipeline.await_status import KEEP_S, wait_key
from dual_pipeline.machine import Machine, Starter

# Fields of the events: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
# by rule: detail type, field of the status, values after which nothing more happens by itself, field of the key, field
# that begins with the environment's name, or with an ARN up to it.
SOURCES: Mapping[str, tuple[str, str, tuple[str, ...], str, str]] = {
    "PipelineOver": (
        "SageMaker Model Building Pipeline Execution Status Change",
        "currentPipelineExecutionStatus",
        ("Succeeded", "Failed", "Stopped"),
        "pipelineExecutionArn",
        "pipelineArn",
    ),
    "PackageDecided": (
        "SageMaker Model Package State Change",
        "ModelApprovalStatus",
        ("Approved", "Rejected"),
        "ModelPackageArn",
        "ModelPackageGroupName",
    ),
    "EndpointSettled": (
        "SageMaker Endpoint State Change",
        "EndpointStatus",
        ("IN_SERVICE", "FAILED", "OUT_OF_SERVICE", "UPDATE_ROLLBACK_FAILED"),
        "EndpointArn",
        "EndpointName",
    ),
}


def resumer_definition(table_name: str) -> State:
    """The Express machine: mark the operation as over, and resume the token that the mark replaced, if any."""
    states: dict[str, State] = {
        "Mark": task(
            "aws-sdk:dynamodb:putItem",
            arguments={
                "TableName": table_name,
                "Item": {
                    **wait_key("$states.input.key"),
                    "terminal": {"S": jsonata("$states.input.status")},
                    "at": {"S": jsonata("$states.input.time")},
                    "expires_at": {"N": jsonata(f"$string($floor($millis() / 1000) + {KEEP_S})")},
                },
                "ReturnValues": "ALL_OLD",
            },
            timeout_s=30,
            retries=[retry(DYNAMODB_ERRORS)],
            catches=[catch(next_="NotMarked")],
            assign={
                "token": jsonata("$exists($states.result.Attributes.token.S) ? $states.result.Attributes.token.S : ''")
            },
            next_="SomebodyWaits",
        ),
        "SomebodyWaits": choice(("$token != ''", "Resume"), default="Done"),
        # A waiter that timed out in the meantime looks for itself; its token being gone is no error.
        "Resume": task(
            "aws-sdk:sfn:sendTaskSuccess",
            arguments={"TaskToken": jsonata("$token"), "Output": "{}"},
            timeout_s=30,
            retries=[retry(("Sfn.SfnException", "Sfn.SdkClientException", "Sfn.ThrottlingException"))],
            catches=[
                catch(
                    "Sfn.TaskTimedOutException",
                    "Sfn.TaskDoesNotExistException",
                    "Sfn.InvalidTokenException",
                    next_="Done",
                ),
                catch(next_="NotMarked"),
            ],
            next_="Done",
        ),
        "Done": {"Type": "Succeed"},
        "NotMarked": {
            "Type": "Fail",
            "Error": "DualPipeline.NotResumed",
            "Cause": "the event could not be handed on; the waiting machine looks for itself after its slice",
        },
    }
    return {"QueryLanguage": "JSONata", "StartAt": "Mark", "TimeoutSeconds": 240, "States": states}


class Resumer(Construct):
    """One Express machine for every wait of an environment, started by SageMaker's status events.

    `prefix`, such as `dev-`, begins the names of all that is waited for, and of the outer loops that wait.
    """

    def __init__(
        self, scope: Construct, id_: str, *, name: str, ledger: dynamodb.ITable, key: kms.IKey, prefix: str
    ) -> None:
        super().__init__(scope, id_)
        stack = cdk.Stack.of(self)
        ddb_page = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-ddb.html"
        self.machine = Machine(
            self,
            "Express",
            name=name,
            definition=resumer_definition(ledger.table_name),
            statements=(
                Statement(
                    actions=("dynamodb:PutItem",),
                    resources=(ledger.table_arn,),
                    conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["WAIT#*"]}},
                    source=ddb_page,
                ),
                Statement(
                    actions=("states:SendTaskSuccess",),
                    resources=(
                        stack.format_arn(
                            service="states",
                            resource="stateMachine",
                            resource_name=f"{prefix}*-outer-loop",
                            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                        ),
                    ),
                    source="https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html",
                ),
                Statement(
                    actions=("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"),
                    resources=(key.key_arn,),
                    source="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html",
                ),
            ),
            key=key,
            express=True,
        )
        starter = Starter(self, "Events", machine=self.machine)
        self.dead_letters = starter.dead_letters
        for rule, (detail_type, status, over, operation, owned) in SOURCES.items():
            own = stack.format_arn(service="sagemaker", resource="pipeline", resource_name=prefix)
            detail = {status: list(over), owned: [{"prefix": own if owned.endswith("Arn") else prefix}]}
            starter.add_rule(
                rule,
                description=f"Wakes whoever waits: {detail_type}",
                pattern={"source": ["aws.sagemaker"], "detail-type": [detail_type], "detail": detail},
                paths={"key": f"$.detail.{operation}", "status": f"$.detail.{status}", "time": "$.time"},
                template='{"key": <key>, "status": <status>, "time": <time>}',
            )
