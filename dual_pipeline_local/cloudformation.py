"""CloudFormation resource types that ministack lacks, and checks before types it has.

Each type is provisioned by the service's own API, as AWS's resource handlers do, with the account's root key: the
deployment's own permissions are not the emulator's subject. A type in neither list fails the deployment by name before
anything is created (ministack's `validate_template_support`), and so does a property that its type does not have.
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/ (properties, Ref and Fn::GetAtt).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import botocore
from botocore.exceptions import ClientError, ParamValidationError

from . import bucket_deployment, budget_actions, events, ministack, sessions, settings, stepfunctions, template_schema
from .errors import ApiError

_SETTLE_S: Final = 20.0
_SETTLE_POLL_S: Final = 0.05

Properties = dict[str, Any]
Provisioned = tuple[str, dict[str, Any]]


class _Call(Protocol):
    def __call__(self, operation: str, /, **parameters: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """One resource type: the API calls behind it, its physical id and its attributes.

    A changed property in `replaced_by` replaces the resource; without `update` every change does. `identifier` is
    the property that a resource is imported by, which equals its physical id; without it the type cannot be imported.
    """

    service: str
    name: str
    create: Callable[[_Call, Properties], Any]
    delete: Callable[[_Call, str, Properties], Any]
    update: Callable[[_Call, str, Properties], Any] | None = None
    physical_id: Callable[[Properties, Any], str]
    attributes: Callable[[str, Any], dict[str, Any]] = lambda _id, _answer: {}
    replaced_by: tuple[str, ...] = ()
    max_name: int = 63
    tagged: bool = False
    identifier: str = ""


def install(*, exists: Callable[[str], bool]) -> None:
    """Add the resource types; `exists` tells whether SageMaker has a resource of an ARN."""
    provisioners = ministack.load("services.cloudformation.provisioners")
    stacks = ministack.load("services.cloudformation.stacks")
    for name, kind in TYPES.items():
        provisioners._RESOURCE_HANDLERS[name] = _handler(kind)
        if kind.tagged:
            provisioners._STACK_TAG_PROPERTY[name] = ("Tags", "list")
        if kind.identifier:
            lookups = ministack.load("services.cloudformation.changesets")._IMPORT_LOOKUPS
            lookups[name] = ((kind.identifier,), _lookup(name, exists))
    provisioners._RESOURCE_HANDLERS[bucket_deployment.RESOURCE_TYPE] = {
        "create": bucket_deployment.create,
        "update": bucket_deployment.update,
        "delete": bucket_deployment.delete,
    }
    machine = provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"]
    machine["create"], machine["update"] = _checked_create(machine["create"]), _checked_update(machine["update"])
    job = provisioners._RESOURCE_HANDLERS["AWS::Glue::Job"]
    job["create"], job["update"] = _keeping_concurrency(job["create"], 1), _keeping_concurrency(job["update"], 2)
    bucket = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    bucket["delete"] = _refusing_what_is_full(bucket["delete"])
    for name, held in (("AWS::IAM::Role", _holds_policies), ("AWS::IAM::ManagedPolicy", _is_held)):
        attached = provisioners._RESOURCE_HANDLERS[name]
        attached["delete"] = _refusing_what_is_attached(attached["delete"], held)
    app = ministack.load("app")
    app.SERVICE_HANDLERS["cloudformation"] = _answering_when_settled(app.SERVICE_HANDLERS["cloudformation"])
    for module in ("changesets", "handlers"):
        caller = ministack.load(f"services.cloudformation.{module}")
        caller.validate_template_support = _checking_properties(caller.validate_template_support)
    told = _telling(stacks._add_event)
    for module in ("stacks", "changesets", "handlers"):
        ministack.load(f"services.cloudformation.{module}")._add_event = told
    on_thread = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda name: name in TYPES or on_thread(name)


def _refusing_what_is_full(delete: Callable[[str, Properties], None]) -> Callable[[str, Properties], None]:
    """Fail where ministack deletes a bucket with all its objects.

    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html
    """

    def call(identifier: str, properties: Properties) -> None:
        s3 = ministack.load("services.s3")
        bucket = s3._buckets.get(identifier)
        if bucket is not None and (bucket["objects"] or s3._bucket_has_versions(identifier)):
            raise ValueError("The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
        delete(identifier, properties)

    return call


def _refusing_what_is_attached(
    delete: Callable[[str, Properties], None], held: Callable[[str, Properties], str]
) -> Callable[[str, Properties], None]:
    """Fail where ministack takes from a role, or a policy from whoever holds it, what no template attached.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html and API_DeletePolicy.html
    """

    def call(identifier: str, properties: Properties) -> None:
        if why := held(identifier, properties):
            raise ValueError(why)
        delete(identifier, properties)

    return call


def _holds_policies(role: str, properties: Properties) -> str:
    found = (ministack.load("services.iam")._roles.get(role) or {}).get("AttachedPolicies", [])
    own = properties.get("ManagedPolicyArns") or []
    return "Cannot delete entity, must detach all policies first." if set(found) - set(own) else ""


def _is_held(policy: str, properties: Properties) -> str:
    iam = ministack.load("services.iam")
    for kind, holders in (("Roles", iam._roles), ("Users", iam._users), ("Groups", iam._groups)):
        own = properties.get(kind) or []
        if any(policy in each.get("AttachedPolicies", []) and name not in own for name, each in holders.items()):
            return "Cannot delete a policy attached to entities."
    return ""


def _lookup(kind: str, exists: Callable[[str], bool]) -> Callable[[str], str | None]:
    """Why a resource cannot be imported, in CloudFormation's words; None when it is there."""

    def call(identifier: str) -> str | None:
        if exists(identifier):
            return None
        return f"Resource of type '{kind}' with identifier '{identifier}' was not found."

    return call


def _checking_properties(validate: Callable[..., None]) -> Callable[..., None]:
    """Refuse unknown and missing properties where ministack refuses unknown types; ValidateTemplate has no `params`."""

    def call(template: dict[str, Any], conditions: dict[str, bool], params: dict[str, Any] | None = None) -> None:
        validate(template, conditions, params=params)
        if params is not None and not template.get("Transform"):
            template_schema.check(template, conditions)

    return call


def _telling(add_event: Callable[..., None]) -> Callable[..., None]:
    """Tell rules of every change of a stack's status, which ministack keeps to itself.

    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-eventbridge-events.html
    """

    def call(
        stack_id: str, stack_name: str, logical_id: str, kind: str, status: str, *more: Any, **others: Any
    ) -> None:
        add_event(stack_id, stack_name, logical_id, kind, status, *more, **others)
        if kind == "AWS::CloudFormation::Stack" and logical_id == stack_name:
            detail = {"stack-id": stack_id, "status-details": {"status": status, "status-reason": ""}}
            events.emit(
                source="aws.cloudformation",
                detail_type="CloudFormation Stack Status Change",
                detail=detail,
                resources=[stack_id],
            )

    return call


def _answering_when_settled(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Answer ExecuteChangeSet and DeleteStack when the stack has settled: the CDK CLI looks only every 5 seconds."""

    async def call(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
        response = await handle(method, path, headers, body, query)
        if b"Action=ExecuteChangeSet" in body or b"Action=DeleteStack" in body:
            for _ in range(round(_SETTLE_S / _SETTLE_POLL_S)):
                if not _deploying():
                    break
                await asyncio.sleep(_SETTLE_POLL_S)
        return response

    return call


def _deploying() -> bool:
    found = ministack.load("services.cloudformation")._stacks.values()
    states = [str(stack.get("StackStatus", "")) for stack in found]
    return any(state.endswith("_IN_PROGRESS") and not state.startswith("REVIEW") for state in states)


def _handler(kind: ResourceType) -> dict[str, Any]:
    def create(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        physical_name = ministack.load("services.cloudformation.provisioners")._physical_name
        named = dict(properties)
        if kind.name:
            named.setdefault(kind.name, physical_name(stack, logical_id, max_len=kind.max_name))
        answer = kind.create(_calls(kind.service), named)
        identifier = kind.physical_id(named, answer)
        return identifier, kind.attributes(identifier, answer)

    def update(identifier: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Provisioned:
        if kind.update is None or any(old.get(name) != new.get(name) for name in kind.replaced_by):
            return create(logical_id, new, stack)
        answer = kind.update(_calls(kind.service), identifier, new)
        return identifier, kind.attributes(identifier, answer)

    def delete(identifier: str, properties: Properties) -> None:
        kind.delete(_calls(kind.service), identifier, properties)

    handler = {"create": create, "update": update, "update_with_logical_id": True, "delete": delete}
    if kind.identifier:
        handler["import"] = lambda given: (given[kind.identifier], kind.attributes(given[kind.identifier], None))
    return handler


def _calls(service: str) -> _Call:
    client = sessions.root_client(service)

    def call(operation: str, /, **parameters: Any) -> Any:
        try:
            return getattr(client, botocore.xform_name(operation))(**parameters)
        except (ClientError, ParamValidationError) as error:
            raise ValueError(f"{operation}: {error}") from error

    return call


def _only(properties: Mapping[str, Any], *names: str) -> Properties:
    return {name: properties[name] for name in names if properties.get(name) is not None}


def _tags(properties: Mapping[str, Any]) -> Properties:
    """The template's and the stack's tags; `aws:` tags are CloudFormation's own, which services refuse from callers."""
    own = [tag for tag in properties.get("Tags") or [] if not tag["Key"].startswith("aws:")]
    return {"Tags": own} if own else {}


_PIPELINE: Final = ("PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")


def _pipeline(properties: Properties) -> Properties:
    definition = properties.get("PipelineDefinition") or {}
    if isinstance(definition, str):
        definition = json.loads(definition)
    request = _only(properties, *_PIPELINE)
    if body := definition.get("PipelineDefinitionBody"):
        request["PipelineDefinition"] = body if isinstance(body, str) else json.dumps(body)
    elif place := definition.get("PipelineDefinitionS3Location"):
        key = {"Bucket": place["Bucket"], "ObjectKey": place["Key"]}
        request["PipelineDefinitionS3Location"] = {**key, **_renamed(place, Version="VersionId")}
    else:
        raise ValueError("PipelineDefinition needs PipelineDefinitionBody or PipelineDefinitionS3Location")
    return request


def _renamed(values: Mapping[str, Any], **names: str) -> Properties:
    return {new: values[old] for old, new in names.items() if values.get(old) is not None}


def _budget(properties: Properties) -> Properties:
    """The template's budget in the API's types: amounts are numbers there and texts here."""
    budget = {**properties["Budget"]}
    if limit := budget.get("BudgetLimit"):
        budget["BudgetLimit"] = {**limit, "Amount": str(limit["Amount"])}
    budget.setdefault("BudgetName", properties["BudgetName"])
    return budget


def _notifications(properties: Properties) -> list[Properties]:
    return [
        {**item, "Notification": {**item["Notification"], "Threshold": float(item["Notification"]["Threshold"])}}
        for item in properties.get("NotificationsWithSubscribers") or []
    ]


def _account() -> str:
    return settings.current().account


def _create_budget(call: _Call, properties: Properties) -> Any:
    budget = _budget(properties)
    call(
        "CreateBudget",
        AccountId=_account(),
        Budget=budget,
        **({"NotificationsWithSubscribers": found} if (found := _notifications(properties)) else {}),
    )
    return budget


def _create_budget_action(call: _Call, properties: Properties) -> str:
    request = budget_actions.request_of(properties, account=_account())
    return budget_actions.create(request, budgets=call, iam=_calls("iam"))


_ALARM: Final = (
    "AlarmName",
    "AlarmRule",
    "AlarmDescription",
    "ActionsEnabled",
    "AlarmActions",
    "OKActions",
    "InsufficientDataActions",
    "ActionsSuppressor",
    "ActionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod",
)


def _put_composite_alarm(call: _Call, properties: Properties) -> Any:
    call("PutCompositeAlarm", **_only(properties, *_ALARM), **_tags(properties))
    found = call("DescribeAlarms", AlarmNames=[properties["AlarmName"]], AlarmTypes=["CompositeAlarm"])
    return found["CompositeAlarms"][0]


def _security_configuration(properties: Properties) -> Properties:
    encryption = dict(properties["EncryptionConfiguration"])
    if "S3Encryptions" in encryption:
        encryption["S3Encryption"] = encryption.pop("S3Encryptions")
    return {"Name": properties["Name"], "EncryptionConfiguration": encryption}


_TARGET: Final = ("ServiceNamespace", "ResourceId", "ScalableDimension")


def _target_of(properties: Properties) -> Properties:
    if "ScalingTargetId" in properties:
        return dict(zip(("ResourceId", "ScalableDimension", "ServiceNamespace"), _parts(properties), strict=True))
    return _only(properties, *_TARGET)


def _parts(properties: Properties) -> list[str]:
    return str(properties["ScalingTargetId"]).split("|")


def _target_id(properties: Properties) -> str:
    return "|".join(properties[name] for name in ("ResourceId", "ScalableDimension", "ServiceNamespace"))


def _register_target(call: _Call, properties: Properties) -> Any:
    names = (*_TARGET, "MinCapacity", "MaxCapacity", "RoleARN", "SuspendedState")
    return call("RegisterScalableTarget", **_only(properties, *names))


def _put_scaling_policy(call: _Call, properties: Properties) -> Any:
    names = (
        "PolicyName",
        "PolicyType",
        "TargetTrackingScalingPolicyConfiguration",
        "StepScalingPolicyConfiguration",
    )
    return call("PutScalingPolicy", **_only(properties, *names), **_target_of(properties))


_SCHEDULE: Final = (
    "Name",
    "GroupName",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "FlexibleTimeWindow",
    "Target",
    "State",
    "StartDate",
    "EndDate",
    "Description",
    "KmsKeyArn",
)


def _schedule(call: _Call, operation: str, properties: Properties) -> Properties:
    return {**call(operation, **_only(properties, *_SCHEDULE)), "Name": properties["Name"]}


def _tag_schedule_group(call: _Call, identifier: str, properties: Properties) -> Properties:
    arn = call("GetScheduleGroup", Name=identifier)["Arn"]
    old = [tag["Key"] for tag in call("ListTagsForResource", ResourceArn=arn)["Tags"]]
    call("UntagResource", ResourceArn=arn, TagKeys=old)
    call("TagResource", ResourceArn=arn, **{"Tags": [], **_tags(properties)})
    return {"ScheduleGroupArn": arn}


def _update_pipeline(call: _Call, given: Properties) -> Any:
    """UpdatePipeline takes no tags, so CloudFormation follows the template's by itself."""
    arn = call("UpdatePipeline", **_pipeline(given))["PipelineArn"]
    wanted = _tags(given).get("Tags", [])
    old = {tag["Key"] for tag in call("ListTags", ResourceArn=arn)["Tags"]}
    if gone := sorted(old - {tag["Key"] for tag in wanted}):
        call("DeleteTags", ResourceArn=arn, TagKeys=gone)
    if wanted:
        call("AddTags", ResourceArn=arn, Tags=wanted)
    return {"PipelineArn": arn}


TYPES: Final[Mapping[str, ResourceType]] = {
    "AWS::SageMaker::Pipeline": ResourceType(
        service="sagemaker",
        name="PipelineName",
        create=lambda call, given: call("CreatePipeline", **_pipeline(given), **_tags(given)),
        update=lambda call, _id, given: _update_pipeline(call, given),
        delete=lambda call, identifier, _given: call("DeletePipeline", PipelineName=identifier),
        physical_id=lambda given, _answer: str(given["PipelineName"]),
        replaced_by=("PipelineName",),
        max_name=256,
        tagged=True,
    ),
    "AWS::SageMaker::ModelPackageGroup": ResourceType(
        service="sagemaker",
        name="ModelPackageGroupName",
        create=lambda call, given: call(
            "CreateModelPackageGroup",
            ModelPackageGroupName=given["ModelPackageGroupName"],
            **_renamed(given, ModelPackageGroupDescription="ModelPackageGroupDescription"),
            **_tags(given),
        ),
        update=lambda call, identifier, _given: call("DescribeModelPackageGroup", ModelPackageGroupName=identifier),
        delete=lambda call, identifier, _given: call("DeleteModelPackageGroup", ModelPackageGroupName=identifier),
        physical_id=lambda _given, answer: str(answer["ModelPackageGroupArn"]),
        attributes=lambda identifier, _answer: {"ModelPackageGroupArn": identifier},
        replaced_by=("ModelPackageGroupName", "ModelPackageGroupDescription"),
        tagged=True,
        identifier="ModelPackageGroupArn",
    ),
    "AWS::Budgets::Budget": ResourceType(
        service="budgets",
        name="BudgetName",
        create=_create_budget,
        delete=lambda call, identifier, _given: call("DeleteBudget", AccountId=_account(), BudgetName=identifier),
        physical_id=lambda _given, budget: str(budget["BudgetName"]),
        max_name=100,
    ),
    "AWS::Budgets::BudgetsAction": ResourceType(
        service="budgets",
        name="",
        create=_create_budget_action,
        update=lambda call, _id, given: _create_budget_action(call, given),
        delete=lambda _call, _id, _given: None,
        physical_id=lambda given, action: f"{action}|{given['BudgetName']}",
        attributes=lambda identifier, _action: {"ActionId": identifier.partition("|")[0]},
        replaced_by=("BudgetName", "ActionType"),
    ),
    "AWS::CloudWatch::CompositeAlarm": ResourceType(
        service="cloudwatch",
        name="AlarmName",
        create=_put_composite_alarm,
        update=lambda call, identifier, given: _put_composite_alarm(call, {**given, "AlarmName": identifier}),
        delete=lambda call, identifier, _given: call("DeleteAlarms", AlarmNames=[identifier]),
        physical_id=lambda given, _answer: str(given["AlarmName"]),
        attributes=lambda _id, answer: {"Arn": answer["AlarmArn"]},
        replaced_by=("AlarmName",),
        max_name=255,
        tagged=True,
    ),
    "AWS::Glue::SecurityConfiguration": ResourceType(
        service="glue",
        name="Name",
        create=lambda call, given: call("CreateSecurityConfiguration", **_security_configuration(given)),
        delete=lambda call, identifier, _given: call("DeleteSecurityConfiguration", Name=identifier),
        physical_id=lambda given, _answer: str(given["Name"]),
        max_name=255,
    ),
    "AWS::Scheduler::ScheduleGroup": ResourceType(
        service="scheduler",
        name="Name",
        create=lambda call, given: call("CreateScheduleGroup", Name=given["Name"], **_tags(given)),
        update=_tag_schedule_group,
        delete=lambda call, identifier, _given: call("DeleteScheduleGroup", Name=identifier),
        physical_id=lambda given, _answer: str(given["Name"]),
        attributes=lambda _id, answer: {"Arn": answer["ScheduleGroupArn"]},
        replaced_by=("Name",),
        max_name=64,
        tagged=True,
    ),
    "AWS::Scheduler::Schedule": ResourceType(
        service="scheduler",
        name="Name",
        create=lambda call, given: _schedule(call, "CreateSchedule", given),
        update=lambda call, identifier, given: _schedule(call, "UpdateSchedule", {**given, "Name": identifier}),
        delete=lambda call, identifier, given: call(
            "DeleteSchedule", **_only({**given, "Name": identifier}, "Name", "GroupName")
        ),
        physical_id=lambda _given, answer: str(answer["Name"]),
        attributes=lambda _id, answer: {"Arn": answer["ScheduleArn"]},
        replaced_by=("Name", "GroupName"),
        max_name=64,
    ),
    "AWS::ApplicationAutoScaling::ScalableTarget": ResourceType(
        service="application-autoscaling",
        name="",
        create=_register_target,
        update=lambda call, _id, given: _register_target(call, given),
        delete=lambda call, _id, given: call("DeregisterScalableTarget", **_target_of(given)),
        physical_id=lambda given, _answer: _target_id(given),
        attributes=lambda identifier, _answer: {"Id": identifier},
        replaced_by=_TARGET,
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": ResourceType(
        service="application-autoscaling",
        name="",
        create=_put_scaling_policy,
        update=lambda call, _id, given: _put_scaling_policy(call, given),
        delete=lambda call, _id, given: call(
            "DeleteScalingPolicy", PolicyName=given["PolicyName"], **_target_of(given)
        ),
        physical_id=lambda _given, answer: str(answer["PolicyARN"]),
        attributes=lambda identifier, _answer: {"Arn": identifier},
        replaced_by=("PolicyName", "ScalingTargetId", *_TARGET),
    ),
}


def _checked_create(create: Callable[..., Provisioned]) -> Callable[..., Provisioned]:
    def call(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        _check_machine(properties, logical_id)
        return create(logical_id, properties, stack)

    return call


def _checked_update(update: Callable[..., Provisioned]) -> Callable[..., Provisioned]:
    def call(identifier: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Provisioned:
        _check_machine(new, logical_id)
        return update(identifier, old, new, stack, logical_id)

    return call


def _check_machine(properties: Properties, logical_id: str) -> None:
    """ministack's provisioner stores a machine without asking Step Functions."""
    definition = ministack.load("services.cloudformation.provisioners")._sfn_definition(properties)
    name, kind = properties.get("StateMachineName") or logical_id, properties.get("StateMachineType", "STANDARD")
    try:
        stepfunctions.check_machine(definition, str(properties.get("RoleArn", "")), name=name, kind=kind)
    except ApiError as error:
        raise ValueError(f"{error.code}: {error.message}") from error


def _keeping_concurrency(provision: Callable[..., Provisioned], position: int) -> Callable[..., Provisioned]:
    """ministack's Glue jobs have no ExecutionProperty; keep the template's beside the job."""

    def call(*arguments: Any) -> Provisioned:
        name, attributes = provision(*arguments)
        job = ministack.load("services.glue")._jobs[name]
        job["ExecutionProperty"] = arguments[position].get("ExecutionProperty") or {"MaxConcurrentRuns": 1}
        return name, attributes

    return call
