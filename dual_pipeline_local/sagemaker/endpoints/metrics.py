"""What SageMaker publishes of an endpoint: its requests, and what its instances use.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from collections.abc import Mapping
from http import HTTPStatus

from dual_pipeline_local.sagemaker.cloud import Cloud
from dual_pipeline_local.sagemaker.endpoints.fleet import Exchange, Fleet

_REQUESTS = "AWS/SageMaker"
_INSTANCES = "/aws/sagemaker/Endpoints"


def publish_request(cloud: Cloud, endpoint: str, exchange: Exchange, *, total_s: float) -> None:
    """Metrics of one request; latencies are in microseconds, errors are 0 or 1, so that their average is a rate."""
    status = exchange.answer.status if exchange.answer else HTTPStatus.INTERNAL_SERVER_ERROR
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    is_client_error = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    dimensions = _dimensions(endpoint, exchange.variant)
    for name, value in (
        ("Invocations", 1.0),
        ("InvocationsPerInstance", 1 / max(exchange.instances, 1)),
        ("Invocation4XXErrors", float(is_client_error)),
        ("Invocation5XXErrors", float(is_server_error)),
        ("InvocationModelErrors", float(is_client_error or is_server_error)),
    ):
        cloud.publish(_REQUESTS, name, dimensions, value)
    overhead_s = max(total_s - exchange.latency_s, 0.0)
    for name, seconds in (("ModelLatency", exchange.latency_s), ("OverheadLatency", overhead_s)):
        cloud.publish(_REQUESTS, name, dimensions, round(seconds * 1e6), unit="Microseconds")


def publish_usage(cloud: Cloud, endpoint: str, fleet: Fleet) -> None:
    """What each variant's process uses at the moment, in percent of one core and of the machine's memory and disk."""
    for variant, server in fleet.servers.items():
        if usage := server.usage():
            for name, percent in usage.items():
                cloud.publish(_INSTANCES, name, _dimensions(endpoint, variant), percent, unit="Percent")


def _dimensions(endpoint: str, variant: str) -> Mapping[str, str]:
    return {"EndpointName": endpoint, "VariantName": variant}
