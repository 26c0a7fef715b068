"""CloudWatch's metrics and metric alarms in place of ministack's, which knows neither dimensions nor passing time.

Composite alarms, dashboards, tags and history stay ministack's.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from . import alarms, cloudwatch_wire, metric_api, ministack, queue_metrics, settings
from .alarm_evaluation import AlarmRefused
from .alarms import Alarms
from .aws_time import AwsTime
from .cloudwatch_wire import Call, Response
from .errors import ApiError
from .metric_store import Metric, MetricStore

_METRICS: Final[Mapping[str, Callable[[Mapping[str, Any], MetricStore, AwsTime], dict[str, Any]]]] = {
    "PutMetricData": metric_api.put_metric_data,
    "GetMetricStatistics": metric_api.get_metric_statistics,
    "GetMetricData": metric_api.get_metric_data,
    "ListMetrics": lambda request, store, _time: metric_api.list_metrics(request, store),
}
_HANDLERS: Final = {
    "PutMetricData": "_put_metric_data",
    "GetMetricStatistics": "_get_metric_statistics",
    "GetMetricData": "_get_metric_data",
    "ListMetrics": "_list_metrics",
}


@functools.cache
def metrics() -> MetricStore:
    """The metrics of this process's account."""
    return MetricStore()


@functools.cache
def running_alarms() -> Alarms:
    """The alarms of this process's account."""
    return Alarms(metrics(), AwsTime(settings.current().time_scale))


def publish(
    namespace: str,
    name: str,
    dimensions: Mapping[str, str],
    value: float,
    *,
    unit: str = "None",
    count: float = 1.0,
) -> None:
    """Publish a value of a service's own metric as of now."""
    now = AwsTime(settings.current().time_scale).now()
    metrics().add(Metric.of(namespace, name, dimensions), unit, now, [(value, count)])


def install() -> None:
    """Put metrics and metric alarms in ministack's place, and let time pass for them."""
    service = ministack.load("services.cloudwatch")
    provisioners = ministack.load("services.cloudformation.provisioners")
    for operation, name in _HANDLERS.items():
        setattr(service, name, _handler(operation, functools.partial(_serve_metrics, operation)))
    service._put_metric_alarm = _handler("PutMetricAlarm", _put_alarm)
    service._set_alarm_state = _checking_state(service._set_alarm_state)
    service._evaluate_alarm = lambda _alarm: None
    service._evaluate_all_alarms = lambda: None
    service._dispatch_alarm_actions = alarms.act
    service._record_history = _telling(service._record_history)
    service.record_metric = _record_metric
    service.cloudformation_put_metric_alarm = lambda alarm: running_alarms().put(alarm)
    provisioners._cw_metric_alarm_record = _of_template
    threading.Thread(target=running_alarms().run, args=(_publish_depths,), name="alarms", daemon=True).start()


def stop() -> None:
    """Evaluate alarms no more."""
    running_alarms().stop()


def _publish_depths() -> None:
    queue_metrics.publish_depths(functools.partial(publish, unit="Count"))


def _handler(operation: str, serve: Callable[[Call], Response]) -> Callable[..., Response]:
    def handle(parameters: Any, body: Any, is_cbor: bool, is_json: bool = False) -> Response:
        call = Call(operation, parameters, body, is_cbor, is_json)
        try:
            return serve(call)
        except ApiError as error:
            return call.refusal(error)

    return handle


def _serve_metrics(operation: str, call: Call) -> Response:
    time = AwsTime(settings.current().time_scale)
    return call.answer(_METRICS[operation](call.request(), metrics(), time))


def _put_alarm(call: Call) -> Response:
    request, service = call.request(), ministack.load("services.cloudwatch")
    name, tags = request["AlarmName"], request.get("Tags")
    is_new = name not in service._alarms
    refusal: Response | None = service._alarm_tags_refusal(
        tags, request.get("DatapointsToAlarm"), is_new, call.is_cbor, call.is_json
    )
    if refusal:
        return refusal
    try:
        alarm = running_alarms().record(request)
    except AlarmRefused as error:
        raise alarms.refused(error) from error
    if is_new and tags:
        service._resource_tags[alarm["AlarmArn"]] = {tag["Key"]: tag["Value"] for tag in tags}
    running_alarms().put(alarm)
    return call.answer({})


def _of_template(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The alarm of an AWS::CloudWatch::Alarm; what CloudFormation would be refused fails the deployment."""
    request = cloudwatch_wire.coerced("PutMetricAlarm", {**properties, "AlarmName": name})
    request.pop("Tags", None)
    try:
        cloudwatch_wire.check("PutMetricAlarm", request)
        return running_alarms().record(request)
    except (ApiError, AlarmRefused) as error:
        raise ValueError(f"AWS::CloudWatch::Alarm {name}: {error}") from error


def _checking_state(set_state: Callable[..., Response]) -> Callable[..., Response]:
    """Check the request of SetAlarmState, and let the reason data of an earlier state not outlive it."""

    def serve(call: Call) -> Response:
        request, service = call.request(), ministack.load("services.cloudwatch")
        if alarm := service._alarms.get(request["AlarmName"]):
            alarm.pop("StateReasonData", None)
        return set_state(call.parameters, call.body, call.is_cbor, call.is_json)

    return _handler("SetAlarmState", serve)


def _telling(record: Callable[..., None]) -> Callable[..., None]:
    """Tell rules of every change of an alarm's state, which ministack keeps to itself."""

    def record_and_tell(name: str, old_state: str, new_state: str, reason: str, *more: Any, **others: Any) -> None:
        record(name, old_state, new_state, reason, *more, **others)
        if old_state != new_state:
            running_alarms().tell(name, old_state, new_state, reason)

    return record_and_tell


def _record_metric(
    namespace: str, metric_name: str, value: float, unit: str = "None", dimensions: Mapping[str, str] | None = None
) -> None:
    publish(namespace, metric_name, dimensions or {}, float(value), unit=unit)
