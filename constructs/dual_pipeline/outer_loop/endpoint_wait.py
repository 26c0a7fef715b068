"""Waiting until an endpoint rests, and what is seen of it then."""

from collections.abc import Mapping

from dual_pipeline.asl import SAGEMAKER_ERRORS, State, quote
from dual_pipeline.await_status import AwaitStatus
from dual_pipeline.loop_contract import VARIANT_NAME
from dual_pipeline.outer_loop.setting import Setting

_OVER = "$states.result.EndpointStatus in ['InService', 'Failed', 'OutOfService', 'UpdateRollbackFailed']"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
OBSERVE_ENDPOINT = f"""(
  $e := $states.result;
  $live := $e.ProductionVariants[VariantName = {quote(VARIANT_NAME)}];
  {{
    'status': $e.EndpointStatus, 'config': $e.EndpointConfigName & '', 'reason': $e.FailureReason & '',
    'pending': $e.PendingDeploymentSummary.EndpointConfigName & '',
    'count': $sum([$live.DesiredInstanceCount]),
    'captured': $e.DataCaptureConfig.EnableCapture = true ? $e.DataCaptureConfig.CurrentSamplingPercentage : 0
  }}
)"""


def await_endpoint(setting: Setting, *, name: str, next_: str, unseen: State) -> Mapping[str, State]:
    """Wait until the endpoint rests, whatever became of it; `unseen` catches what keeps it from being looked at."""
    wait = AwaitStatus(
        name=name,
        integration="aws-sdk:sagemaker:describeEndpoint",
        arguments={"EndpointName": setting.prefix},
        errors=SAGEMAKER_ERRORS,
        key="$states.result.EndpointArn",
        done=_OVER,
        observe=OBSERVE_ENDPOINT,
        observed="endpoint",
        deadline_s=setting.endpoint_deadline_s,
        slice_s=setting.slice_s,
        table_name=setting.table_name,
        next_=next_,
        on_deadline=next_,
        catches=[unseen],
    )
    return wait.fragment().states
