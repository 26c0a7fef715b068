"""What has to hold before an endpoint is touched, looked at all at once: everything that is wrong is told together."""

import json

from dual_pipeline.asl import (
    SAGEMAKER_ERRORS,
    Fragment,
    State,
    Statement,
    catch,
    choice,
    jsonata,
    quote,
    retry,
    task,
)
from dual_pipeline.loop_contract import DRIFT_BASELINE_FILE, REASON_ROLLBACK, VARIANT_NAME
from dual_pipeline.outer_loop.finish import CLOUDWATCH_RETRY, key_statement
from dual_pipeline.outer_loop.quality import S3_RETRY
from dual_pipeline.outer_loop.setting import FAILED_AFTER_APPROVAL, Setting

_ECR_ERRORS = ("Ecr.EcrException", "Ecr.LimitExceededException", "Ecr.SdkClientException", "Ecr.ServerException")
_SAGEMAKER_RETRY = [retry(SAGEMAKER_ERRORS, attempts=3)]
_SAGEMAKER_PAGE = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"

# Of the package's container: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelPackageContainerDefinition.html
CONTAINER = """(
  $c := $states.result.InferenceSpecification.Containers[0];
  {
    'image': $c.Image & '', 'digest': $c.ImageDigest & '',
    'model': $c.ModelDataUrl & '', 'etag': $replace($c.ModelDataETag & '', '"', ''),
    'created': $exists($states.result.CreationTime) ? $toMillis($states.result.CreationTime) : 0
  }
)"""


def preflight(setting: Setting, *, next_: str) -> Fragment:
    """Ask the preflight machine; `$preflight` is then {problem, ringing, status, config, count}.

    An Express machine looks at everything side by side and costs this one a single transition:
    https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
    """
    state = task(
        "aws-sdk:sfn:startSyncExecution",
        arguments={
            "StateMachineArn": setting.preflight_arn,
            "Input": jsonata(
                "$string($merge([$container, {'folder': $evaluation.folder, 'champion': $serving.config}]))"
            ),
        },
        timeout_s=300,
        retries=[retry(("Sfn.SfnException", "Sfn.SdkClientException"), attempts=4)],
        catches=[FAILED_AFTER_APPROVAL],
        assign={"preflight": jsonata(_found(setting))},
        next_=next_,
    )
    return Fragment(
        states={"Preflight": state},
        statements=(
            Statement(
                actions=("states:StartSyncExecution",),
                resources=(setting.preflight_arn,),
                source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html",
            ),
        ),
    )


def _found(setting: Setting) -> str:
    """JSONata for what the machine found, and all that is wrong in one sentence.

    The call succeeds whatever became of the execution. An alarm that rings may be what a rollback is for.
    """
    return f"""(
      $r := $states.result;
      $found := $r.Status = 'SUCCEEDED' ? $parse($r.Output) : {{
        'problems': ['the checks ended as ' & $r.Status & ' ' & $r.Error & ' ' & $substring($r.Cause & '', 0, 500)],
        'ringing': [], 'status': '', 'config': '', 'count': 0
      }};
      $rings := $trigger.reason = {quote(REASON_ROLLBACK)} or $count($found.ringing) = 0 ? []
        : ['the rollback alarm ' & $join($found.ringing, ', ') & ' rings already, so SageMaker would send any model'
           & ' back at once: see why it rings, then start the run again'];
      $moves := $found.status in ['', 'InService'] ? []
        : ['the endpoint {setting.prefix} is ' & $found.status & ' and takes no new model; bring it to InService, or'
           & ' delete it if it never served, then start the run again'];
      $merge([$found, {{'problem': $join($append($append([$found.problems], $rings), $moves), '; ')}}])
    )"""


def preflight_definition(setting: Setting) -> State:
    """The Express machine; its output is {problems, ringing, status, config, count}, the last three of the endpoint."""
    return {
        "Comment": f"What has to hold before {setting.prefix} moves",
        "QueryLanguage": "JSONata",
        "StartAt": "CheckAll",
        "TimeoutSeconds": 240,
        "States": {
            "CheckAll": {
                "Type": "Parallel",
                "Branches": [_alarms(setting), _image(), _model(setting), _baseline(setting), _endpoint(setting)],
                "Output": jsonata("$merge([$states.result, {'problems': [$states.result.problems]}])"),
                "End": True,
            }
        },
    }


def _branch(name: str, state: State, *, unread: str, more: State | None = None) -> State:
    """One check alone in its branch; `unread` is JSONata for what is wrong where the answer did not come."""
    return {"StartAt": name, "States": {name: _check(name, state, unread=unread, more=more), **_unread(name)}}


def _check(name: str, state: State, *, unread: str, more: State | None = None) -> State:
    found = jsonata(f"$merge([{json.dumps(more or {})}, {{'problems': [{unread} & {_ERROR}]}}])")
    return state | {"Catch": [catch(next_=f"{name}Unread") | {"Output": found}]}


def _unread(name: str) -> dict[str, State]:
    return {f"{name}Unread": {"Type": "Succeed"}}


_ERROR = "': ' & $states.errorOutput.Error & ' ' & $substring($states.errorOutput.Cause & '', 0, 300)"


def _call(integration: str, *, arguments: State, retries: list[State], output: str, next_: str = "") -> State:
    state = task(integration, arguments=arguments, timeout_s=60, retries=retries, catches=[], next_=next_)
    del state["Next"]
    return state | {"Output": jsonata(output)} | ({"Next": next_} if next_ else {"End": True})


def _alarms(setting: Setting) -> State:
    """An update is refused or goes back at once where an alarm is missing or rings.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    names = json.dumps(list(setting.rollback_alarms))
    output = f"""(
      $found := $states.result.MetricAlarms;
      $names := {names};
      $missing := $filter($names, function($name) {{ $not($name in $found.AlarmName) }});
      {{
        'ringing': [$found[StateValue = 'ALARM'].AlarmName],
        'problems': $count($missing) = 0 ? []
          : ['no rollback alarm ' & $join($missing, ', ') & ' exists, so nothing would send a bad model back: deploy'
             & ' the environment again']
      }}
    )"""
    state = _call(
        "aws-sdk:cloudwatch:describeAlarms",
        arguments={"AlarmNames": list(setting.rollback_alarms), "AlarmTypes": ["MetricAlarm"]},
        retries=CLOUDWATCH_RETRY,
        output=output,
    )
    return _branch("CheckAlarms", state, unread=quote("the rollback alarms cannot be read"), more={"ringing": []})


def _image() -> State:
    """Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html"""
    parts = r"$match($states.input.image, /^(\d+)\.dkr\.ecr\.[^\/]+\/(.+):([^:]+)$/).groups"
    output = """(
      $digest := $states.result.Images[0].ImageId.ImageDigest;
      {'problems': $not($exists($digest)) ? ['the image ' & $states.input.image & ' does not exist any more']
        : $states.input.digest != '' and $states.input.digest != $digest
          ? ['the image ' & $states.input.image & ' is ' & $digest & ' now and was ' & $states.input.digest
             & ' when the model was registered']
        : []}
    )"""
    state = _call(
        "aws-sdk:ecr:batchGetImage",
        arguments={
            "RegistryId": jsonata(f"{parts}[0]"),
            "RepositoryName": jsonata(f"{parts}[1]"),
            "ImageIds": jsonata(f"[{{'ImageTag': {parts}[2]}}]"),
        },
        retries=[retry(_ECR_ERRORS, attempts=3)],
        output=output,
    )
    return _branch("CheckImage", state, unread="'the image ' & $states.input.image & ' cannot be read'")


def _model(setting: Setting) -> State:
    """The file that was registered: its ETag where the package has one, and never younger than the package.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    place = quote(f"s3://{setting.artifact_bucket}/")
    output = """(
      $etag := $replace($states.result.ETag & '', '"', '');
      {'problems': $states.input.etag != '' and $states.input.etag != $etag
          ? ['the model file ' & $states.input.model & ' has the ETag ' & $etag & ' now and had ' & $states.input.etag
             & ' when it was registered']
        : $states.input.created > 0 and $toMillis($states.result.LastModified) > $states.input.created
          ? ['the model file ' & $states.input.model & ' was written anew at ' & $states.result.LastModified
             & ', after its registration']
        : []}
    )"""
    state = _call(
        "aws-sdk:s3:headObject",
        arguments={
            "Bucket": setting.artifact_bucket,
            "Key": jsonata(f"$substringAfter($states.input.model, {place})"),
        },
        retries=S3_RETRY,
        output=output,
    )
    return _branch("CheckModel", state, unread="'the model file ' & $states.input.model & ' cannot be read'")


def _baseline(setting: Setting) -> State:
    key = f"$states.input.folder & {quote(DRIFT_BASELINE_FILE)}"
    state = _call(
        "aws-sdk:s3:headObject",
        arguments={"Bucket": setting.artifact_bucket, "Key": jsonata(key)},
        retries=S3_RETRY,
        output="{'problems': []}",
    )
    return _branch("CheckBaseline", state, unread=f"'the drift baseline ' & {key} & ' cannot be read'")


def _endpoint(setting: Setting) -> State:
    """The endpoint as it is, and whether the configuration exists that a refused rollout goes back to.

    Existence is a matter of the list: Describe's error for a missing endpoint has no name of its own.
    """
    absent: State = {"status": "", "config": "", "count": 0, "problems": []}
    unread = quote(f"the endpoint {setting.prefix} cannot be read")
    listed = f"$states.result.Endpoints[EndpointName = {quote(setting.prefix)}]"
    find = _call(
        "aws-sdk:sagemaker:listEndpoints",
        arguments={"NameContains": setting.prefix, "MaxResults": 100},
        retries=_SAGEMAKER_RETRY,
        output=f"$merge([$states.input, {{'exists': $exists({listed})}}])",
        next_="IsThere",
    )
    read = _call(
        "aws-sdk:sagemaker:describeEndpoint",
        arguments={"EndpointName": setting.prefix},
        retries=_SAGEMAKER_RETRY,
        output=(
            f"($live := $states.result.ProductionVariants[VariantName = {quote(VARIANT_NAME)}];"
            " $config := $states.result.EndpointConfigName & '';"
            " {'status': $states.result.EndpointStatus, 'count': $sum([$live.DesiredInstanceCount]), 'problems': [],"
            " 'live': $config,"
            # What serves may be another than the champion after a run that was aborted: the champion is the way back.
            " 'config': $states.input.champion != '' ? $states.input.champion : $config})"
        ),
        next_="CheckWayBack",
    )
    back = _call(
        "aws-sdk:sagemaker:describeEndpointConfig",
        arguments={"EndpointConfigName": jsonata("$states.input.config")},
        retries=_SAGEMAKER_RETRY,
        output="$states.input",
    )
    gone = (
        "'the endpoint configuration ' & $states.input.config & ', to which a refused rollout goes back, cannot be"
        " read: it must not be deleted while it serves'"
    )
    lost = catch(next_="CheckWayBackUnread") | {
        "Output": jsonata(
            # What serves is a way back, too, if it is not the very configuration that is gone.
            "$merge([$states.input, $states.input.live != $states.input.config ? {'config': $states.input.live}"
            f" : {{'problems': [{gone} & {_ERROR}]}}])"
        )
    }
    return {
        "StartAt": "FindEndpoint",
        "States": {
            "FindEndpoint": _check("FindEndpoint", find, unread=unread, more=absent),
            "IsThere": choice(("$states.input.exists", "ReadEndpoint"), default="NoEndpoint"),
            "NoEndpoint": {"Type": "Pass", "Output": absent, "End": True},
            "ReadEndpoint": _check("ReadEndpoint", read, unread=unread, more=absent),
            "CheckWayBack": back | {"Catch": [lost]},
            **_unread("FindEndpoint"),
            **_unread("ReadEndpoint"),
            **_unread("CheckWayBack"),
        },
    }


def preflight_statements(setting: Setting) -> tuple[Statement, ...]:
    """All that the preflight machine's role may do: it only reads."""
    alarms = tuple(setting.arn("cloudwatch", f"alarm:{name}") for name in setting.rollback_alarms)
    return (
        Statement(
            actions=("cloudwatch:DescribeAlarms",),
            resources=alarms,
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html",
        ),
        Statement(
            actions=("ecr:BatchGetImage",),
            resources=(setting.repository_arn,),
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html",
        ),
        Statement(
            actions=("sagemaker:ListEndpoints",),
            resources=("*",),
            reason="ListEndpoints has no resource type",
            source=_SAGEMAKER_PAGE,
        ),
        Statement(
            actions=("sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig"),
            resources=(
                setting.arn("sagemaker", f"endpoint/{setting.prefix}"),
                setting.arn("sagemaker", f"endpoint-config/{setting.prefix}-*"),
            ),
            source=_SAGEMAKER_PAGE,
        ),
        *setting.reads(setting.artifact_bucket, f"{setting.project.name}/executions/*"),
        key_statement(setting.key_arn),
    )
