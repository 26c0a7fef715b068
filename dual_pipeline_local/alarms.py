"""Metric alarms at work: put, evaluated as time passes, and what a change of state sets off.

Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from . import alarm_evaluation, events, ministack, settings
from .alarm_evaluation import AlarmRefused, Verdict
from .aws_time import AwsTime
from .errors import ApiError
from .metric_store import MetricStore

Record = dict[str, Any]

_log: Final = logging.getLogger("dual_pipeline_local.alarms")
_LEAST_TICK_S: Final = 0.05
_ACTIONS: Final = {
    "ALARM": "AlarmActions",
    "OK": "OKActions",
    "INSUFFICIENT_DATA": "InsufficientDataActions",
}
_INITIAL: Final = "Unchecked: Initial alarm creation"
_OPTIONAL: Final = (
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "Unit",
    "DatapointsToAlarm",
    "EvaluateLowSampleCountPercentile",
    "Metrics",
)


class Alarms:
    """The account's metric alarms, which ministack keeps, evaluated on a store of metrics."""

    def __init__(self, store: MetricStore, aws_time: AwsTime) -> None:
        self._store = store
        self._time = aws_time
        self._evaluated: dict[str, int] = {}
        self._told: dict[str, Record] = {}
        self._stopping = threading.Event()

    def record(self, request: Mapping[str, Any]) -> Record:
        """The alarm that a PutMetricAlarm request describes; an existing one keeps its state.

        Raises AlarmRefused.
        """
        now = settings.current()
        name = request["AlarmName"]
        alarm: Record = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:{now.region}:{now.account}:alarm:{name}",
            "AlarmDescription": request.get("AlarmDescription") or "",
            "EvaluationPeriods": request["EvaluationPeriods"],
            "ComparisonOperator": request["ComparisonOperator"],
            "Threshold": request.get("Threshold"),
            "TreatMissingData": request.get("TreatMissingData") or "missing",
            "ActionsEnabled": request.get("ActionsEnabled", True),
            "Dimensions": request.get("Dimensions") or [],
            **{actions: list(request.get(actions) or []) for actions in _ACTIONS.values()},
            **{member: request[member] for member in _OPTIONAL if request.get(member) is not None},
            "AlarmConfigurationUpdatedTimestamp": time.time(),
        }
        alarm_evaluation.check({**request, **alarm})
        known = _service()._alarms.get(name) or {
            "StateValue": alarm_evaluation.INSUFFICIENT_DATA,
            "StateReason": _INITIAL,
            "StateUpdatedTimestamp": time.time(),
        }
        return alarm | {member: value for member, value in known.items() if member.startswith("State")}

    def put(self, alarm: Record) -> None:
        """Take an alarm in and evaluate it."""
        service, name = _service(), alarm["AlarmName"]
        is_new = name not in service._alarms
        service._alarms[name] = alarm
        if is_new:
            self._told.pop(name, None)
            service._record_history(name, alarm["StateValue"], alarm["StateValue"], _INITIAL)
        self._evaluate(alarm, self._time.now())

    def run(self, each_minute: Callable[[], None]) -> None:
        """Evaluate alarms as time passes, until stopped, and call `each_minute` once in every minute of AWS."""
        pause_s, sampled, here = max(self._time.real_s(10), _LEAST_TICK_S), 0, settings.current()
        while not self._stopping.wait(pause_s - time.time() % pause_s):
            with ministack.load("core.responses").request_scope(here.account, here.region):
                self.evaluate_due()
                if sampled != (minute := self._time.now() // 60):
                    sampled = minute
                    each_minute()

    def stop(self) -> None:
        """Evaluate no more."""
        self._stopping.set()

    def evaluate_due(self) -> None:
        """Evaluate each alarm whose interval has passed since it was evaluated last."""
        now = self._time.now()
        for alarm in list(_service()._alarms.values()):
            interval = alarm_evaluation.interval_of(alarm)
            if self._evaluated.get(alarm["AlarmName"]) != now - now % interval:
                try:
                    self._evaluate(alarm, now)
                except Exception:  # one alarm's trouble must not silence the others
                    _log.exception("alarm %s could not be evaluated", alarm["AlarmName"])

    def _evaluate(self, alarm: Record, now: int) -> None:
        self._evaluated[alarm["AlarmName"]] = now - now % alarm_evaluation.interval_of(alarm)
        verdict = alarm_evaluation.evaluate(alarm, self._store, now, show=self._day_and_time)
        before = alarm["StateValue"]
        if verdict.state == before:
            return
        data = self._reason_data(alarm, verdict)
        moved = time.time()
        alarm |= {
            "StateValue": verdict.state,
            "StateReason": verdict.reason,
            "StateReasonData": json.dumps(data, separators=(",", ":")),
            "StateUpdatedTimestamp": moved,
            "StateTransitionedTimestamp": moved,
        }
        service = _service()
        service._record_history(alarm["AlarmName"], before, verdict.state, verdict.reason, reason_data=data)
        service._dispatch_alarm_actions(alarm, before, verdict.state, verdict.reason)
        service._evaluate_parent_alarms(alarm)

    def tell(self, name: str, old_state: str, new_state: str, reason: str) -> None:
        """Send the event of a change of state, of a metric or a composite alarm."""
        service = _service()
        alarm = service._alarms.get(name) or service._composite_alarms.get(name) or {"AlarmName": name}
        state = {
            "value": new_state,
            "reason": reason,
            **({"reasonData": alarm["StateReasonData"]} if alarm.get("StateReasonData") else {}),
            "timestamp": _stamp(time.time()),
        }
        previous = self._told.get(name)
        if previous is None or previous["value"] != old_state:
            previous = {"value": old_state, "reason": _INITIAL}
        self._told[name] = state
        now = settings.current()
        events.emit(
            source="aws.cloudwatch",
            detail_type="CloudWatch Alarm State Change",
            detail={
                "alarmName": name,
                "configuration": _configuration(alarm),
                "previousState": previous,
                "state": state,
            },
            resources=[f"arn:aws:cloudwatch:{now.region}:{now.account}:alarm:{name}"],
        )

    def _reason_data(self, alarm: Record, verdict: Verdict) -> Record:
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
        starts = [start for start, _ in verdict.datapoints]
        return {
            "version": "1.0",
            "queryDate": _stamp(time.time()),
            **({"startDate": _stamp(self._time.epoch_s(starts[0]))} if starts else {}),
            **({"statistic": statistic} if statistic else {}),
            "period": alarm_evaluation.period_of(alarm),
            "recentDatapoints": [value for _, value in verdict.datapoints],
            "threshold": float(alarm["Threshold"]),
        }

    def _day_and_time(self, moment: int) -> str:
        return f"{datetime.fromtimestamp(self._time.epoch_s(moment), UTC):%d/%m/%y %H:%M:%S}"


def act(alarm: Mapping[str, Any], old_state: str, new_state: str, reason: str) -> None:
    """Publish a change to the topics that the alarm names for its new state, if their policies let CloudWatch in.

    Other actions than SNS topics are kept and not carried out.
    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    """
    if not alarm.get("ActionsEnabled", True):
        return
    now, service, sns = settings.current(), _service(), ministack.load("services.sns")
    # CloudWatch speaks TLS, which the policies of topics ask for; on a thread of ours nobody has said so.
    ministack.load("app").pin_request_origin("127.0.0.1", True)
    message = json.dumps(_message(alarm, old_state, new_state, reason))
    subject = f'{new_state}: "{alarm["AlarmName"]}" in {now.region}'[:100]
    for topic in alarm.get(_ACTIONS[new_state]) or []:
        if not service._is_sns_action_arn(topic):
            continue
        if not sns.topic_policy_allows(topic, "cloudwatch.amazonaws.com", alarm["AlarmArn"], now.account):
            _log.error("action of alarm %s lost: the policy of %s shuts CloudWatch out", alarm["AlarmName"], topic)
            continue
        sns._fanout(topic, service.new_uuid(), message, subject)


def refused(error: AlarmRefused) -> ApiError:
    """The API's answer to an alarm that cannot be taken."""
    return ApiError("ValidationError", str(error))


def _message(alarm: Mapping[str, Any], old_state: str, new_state: str, reason: str) -> Record:
    """What subscribers get, with the members that CloudWatch writes."""
    now = settings.current()
    message: Record = {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription") or None,
        "AWSAccountId": now.account,
        "AlarmConfigurationUpdatedTimestamp": _stamp(alarm["AlarmConfigurationUpdatedTimestamp"]),
        "NewStateValue": new_state,
        "NewStateReason": reason,
        "StateChangeTime": _stamp(time.time()),
        "Region": now.region,
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": old_state,
        **{actions: alarm.get(actions) or [] for actions in ("OKActions", "AlarmActions", "InsufficientDataActions")},
    }
    if "AlarmRule" in alarm:
        return message | {"AlarmRule": alarm["AlarmRule"]}
    trigger: Record = {
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm["TreatMissingData"],
        "EvaluateLowSampleCountPercentile": alarm.get("EvaluateLowSampleCountPercentile", ""),
    }
    if "DatapointsToAlarm" in alarm:
        trigger["DatapointsToAlarm"] = alarm["DatapointsToAlarm"]
    if "Metrics" in alarm:
        trigger["Metrics"] = alarm["Metrics"]
    else:
        extended = alarm.get("ExtendedStatistic")
        trigger |= {
            "MetricName": alarm["MetricName"],
            "Namespace": alarm["Namespace"],
            "StatisticType": "ExtendedStatistic" if extended else "Statistic",
            **({"ExtendedStatistic": extended} if extended else {"Statistic": alarm["Statistic"].upper()}),
            "Unit": alarm.get("Unit"),
            "Dimensions": [{"value": each["Value"], "name": each["Name"]} for each in alarm["Dimensions"]],
            "Period": alarm["Period"],
        }
    return message | {"Trigger": trigger}


def _configuration(alarm: Mapping[str, Any]) -> Record:
    """An alarm's configuration as events carry it."""
    description = {"description": alarm["AlarmDescription"]} if alarm.get("AlarmDescription") else {}
    if "AlarmRule" in alarm:
        return {**description, "alarmRule": alarm["AlarmRule"]}
    if "ComparisonOperator" not in alarm:
        return description
    return {**description, "metrics": [_query(query) for query in alarm_evaluation.queries_of(alarm)]}


def _query(query: Mapping[str, Any]) -> Record:
    found: Record = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
    if query.get("Label"):
        found["label"] = query["Label"]
    if "Expression" in query:
        return found | {"expression": query["Expression"]}
    stat, metric = query["MetricStat"], query["MetricStat"]["Metric"]
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []}
    return found | {
        "metricStat": {
            "metric": {"namespace": metric["Namespace"], "name": metric["MetricName"], "dimensions": dimensions},
            "period": stat["Period"],
            "stat": stat["Stat"],
            **({"unit": stat["Unit"]} if stat.get("Unit") else {}),
        }
    }


def _stamp(epoch_s: float) -> str:
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "+0000"


def _service() -> Any:
    return ministack.load("services.cloudwatch")
