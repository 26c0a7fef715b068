"""Endpoints: created, updated blue/green under guard, scaled, invoked, deleted.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
"""

import itertools
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus

from botocore.exceptions import ClientError

from dual_pipeline_local.aws_time import AwsTime
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.gateway import VARIANT_HEADER
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.control import Control, Operations, arn
from dual_pipeline_local.sagemaker.endpoints.capture import Capture
from dual_pipeline_local.sagemaker.endpoints.configs import EndpointConfigs
from dual_pipeline_local.sagemaker.endpoints.deployment import (
    Deployment,
    DeploymentClock,
    alarms_in_alarm,
)
from dual_pipeline_local.sagemaker.endpoints.fleet import Fleet, UnhealthyFleet
from dual_pipeline_local.sagemaker.endpoints.invocation import CUSTOM_ATTRIBUTES, Invocation
from dual_pipeline_local.sagemaker.endpoints.metrics import publish_request, publish_usage
from dual_pipeline_local.sagemaker.endpoints.traffic import Traffic
from dual_pipeline_local.sagemaker.listing import Listing
from dual_pipeline_local.sagemaker.model_server import ModelServer
from dual_pipeline_local.sagemaker.models import Models

_ENDPOINTS = Listing(operation="ListEndpoints", name="EndpointName", status="EndpointStatus")
_ALARM_POLL_S = 0.2


class RolledBack(Exception):
    """The deployment goes back to the old fleet; `str()` says why."""


@dataclass
class Endpoint:
    """An endpoint: its record as Describe answers it, and where its traffic goes."""

    record: Record
    caller: Caller
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def name(self) -> str:
        """Its name."""
        name: str = self.record["EndpointName"]
        return name


class Endpoints:
    """Endpoints by name."""

    def __init__(self, control: Control, *, models: Models, configs: EndpointConfigs, aws_time: AwsTime) -> None:
        self._control = control
        self._models = models
        self._configs = configs
        self._aws_time = aws_time
        self._endpoints: dict[str, Endpoint] = {}
        self._fleets: set[Fleet] = set()
        self._numbers = itertools.count(1)
        self._closing = threading.Event()
        self._usage: threading.Thread | None = None
        self._capture = Capture(control.cloud)
        self.operations: Operations = {
            "CreateEndpoint": self._create,
            "UpdateEndpoint": self._update,
            "UpdateEndpointWeightsAndCapacities": self._update_capacities,
            "DescribeEndpoint": self._describe,
            "ListEndpoints": self._list,
            "DeleteEndpoint": self._delete,
        }

    def invoke(self, name: str, request: Invocation, caller: Caller) -> tuple[int, bytes, dict[str, str]]:
        """See SageMaker.invoke_endpoint."""
        started = time.perf_counter()
        endpoint = self._endpoints.get(name)
        fleet = endpoint.traffic.enter() if endpoint else None
        if endpoint is None or fleet is None:
            raise ApiError("ValidationError", f"Endpoint {name} of account {caller.account} not found.")
        headers = {"Content-Type": request.content_type, "Accept": request.accept}
        if request.custom_attributes is not None:
            headers[CUSTOM_ATTRIBUTES] = request.custom_attributes
        try:
            exchange = fleet.invoke(request.body, headers)
        finally:
            fleet.leave()
        answer = exchange.answer
        if answer is not None and answer.status < HTTPStatus.BAD_REQUEST and fleet.capture:
            self._capture.note(fleet.capture, name, exchange.variant, fleet.role, request, answer)
        publish_request(self._control.cloud, name, exchange, total_s=time.perf_counter() - started)
        if answer is None:
            return _model_error(endpoint, 0, exchange.trouble)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            return _model_error(endpoint, answer.status, answer.body.decode(errors="replace"))
        answered = {"Content-Type": answer.content_type, VARIANT_HEADER: exchange.variant}
        if CUSTOM_ATTRIBUTES in answer.headers:
            answered[CUSTOM_ATTRIBUTES] = answer.headers[CUSTOM_ATTRIBUTES]
        return answer.status, answer.body, answered

    def stop_all(self) -> None:
        """End every fleet, whatever state it is in."""
        self._closing.set()
        self._capture.stop()
        for fleet in list(self._fleets):
            fleet.stop()

    def _create(self, request: Record, caller: Caller) -> Record:
        name, now = request["EndpointName"], api.now()
        endpoint_arn = arn(caller, f"endpoint/{name}")
        config = self._configs.get(request["EndpointConfigName"], caller)
        deployment = self._deployment(request.get("DeploymentConfig", {}), config, caller)
        with self._control.changed:
            if name in self._endpoints:
                raise invalid(f'Cannot create already existing endpoint "{endpoint_arn}".')
            self._control.tag(endpoint_arn, request)
            endpoint = self._endpoints[name] = Endpoint(
                {
                    "EndpointName": name,
                    "EndpointArn": endpoint_arn,
                    "EndpointStatus": "Creating",
                    "CreationTime": now,
                    "LastModifiedTime": now,
                    "EndpointConfigName": config["EndpointConfigName"],
                    **({"LastDeploymentConfig": deployment.config} if deployment.config else {}),
                },
                caller,
            )
        self._control.start(lambda: self._bring_up(endpoint, config), name=f"endpoint-{name}")
        return {"EndpointArn": endpoint_arn}

    def _bring_up(self, endpoint: Endpoint, config: Record) -> None:
        self._move(endpoint, "Creating")
        try:
            fleet = self._launch(endpoint, config)
        except Exception as error:  # whatever keeps a fleet from coming up is the endpoint's reason
            self._move(endpoint, "Failed", FailureReason=str(error)[:1024])
        else:
            endpoint.traffic.settle(fleet)
            self._move(endpoint, "InService", **_running(config, fleet))
            self._watch_usage()

    def _update(self, request: Record, caller: Caller) -> Record:
        endpoint = self._find(request["EndpointName"], caller)
        self._check_in_service(endpoint)
        config = self._configs.get(request["EndpointConfigName"], caller)
        excluded = [p["VariantPropertyType"] for p in request.get("ExcludeRetainedVariantProperties", [])]
        if excluded and not request.get("RetainAllVariantProperties"):
            raise invalid("ExcludeRetainedVariantProperties requires RetainAllVariantProperties to be true")
        if request.get("RetainAllVariantProperties"):
            config = _retain(endpoint, config, excluded)
        last: Record = endpoint.record.get("LastDeploymentConfig", {}) if request.get("RetainDeploymentConfig") else {}
        deployment = self._deployment(request.get("DeploymentConfig") or last, config, caller)
        self._begin(endpoint, "Updating")
        self._control.start(lambda: self._deploy(endpoint, config, deployment), name=f"endpoint-{endpoint.name}")
        return {"EndpointArn": endpoint.record["EndpointArn"]}

    def _deploy(self, endpoint: Endpoint, config: Record, deployment: Deployment) -> None:
        """Blue/green: a new fleet beside the old one, traffic moved step by step, and back if alarms ring."""
        self._move(endpoint, "Updating", LastDeploymentConfig=deployment.config or None, FailureReason=None)
        before = dict(endpoint.record)
        clock = DeploymentClock(self._aws_time, longest_s=deployment.longest_s)
        try:
            count = config["ProductionVariants"][0]["InitialInstanceCount"]
            self._show_pending(endpoint, config, deployment, "Creating", f"Launching {count} instance(s).", 0)
            green = self._launch(endpoint, config)
            endpoint.traffic.shift(green, 0.0)
            self._check(green, deployment, clock)
            for step in deployment.steps(count):
                what = f"{'canary' if step.share < 1 else 'full'} capacity of {step.instances} instance(s)."
                activating = f"Activating traffic on {what}"
                self._show_pending(endpoint, config, deployment, "ActivatingTraffic", activating, step.instances)
                endpoint.traffic.shift(green, step.share)
                baking = f"Baking for {step.wait_s} seconds with traffic enabled on {what}"
                self._show_pending(endpoint, config, deployment, "Baking", baking, step.instances)
                self._bake(green, deployment, clock, step.wait_s)
        except Exception as error:  # as above: the old fleet stays whatever happens to the new one
            self._roll_back(endpoint, before, str(error))
            return
        for fleet in endpoint.traffic.settle(green):
            self._retire(fleet)
        self._move(endpoint, "InService", PendingDeploymentSummary=None, **_running(config, green))

    def _roll_back(self, endpoint: Endpoint, before: Record, reason: str) -> None:
        """Send all traffic back to the old fleet; if that is dead, the endpoint keeps what it has and says so."""
        self._move(endpoint, "RollingBack", PendingDeploymentSummary=None)
        blue = endpoint.traffic.blue
        kept = {name: before.get(name) for name in _SHOWN}
        try:
            if blue is not None:
                blue.check_health()
        except UnhealthyFleet as error:
            failed = f"The rollback failed: on the old fleet {error}. It was started for this reason: {reason}"
            self._move(endpoint, "UpdateRollbackFailed", FailureReason=failed[:1024], **kept)
            return
        for fleet in endpoint.traffic.settle(blue):
            self._retire(fleet)
        self._move(endpoint, "InService", FailureReason=reason[:1024], **kept)

    def _bake(self, fleet: Fleet, deployment: Deployment, clock: DeploymentClock, wait_s: float) -> None:
        """Wait so many seconds of AWS and look at the alarms all the time."""
        deadline = time.monotonic() + self._aws_time.real_s(wait_s)
        self._check(fleet, deployment, clock)
        while (left_s := deadline - time.monotonic()) > 0:
            if self._closing.wait(min(_ALARM_POLL_S, left_s)):
                raise RolledBack("The emulator is stopping.")
            self._check(fleet, deployment, clock)
        clock.waited(wait_s)

    def _check(self, fleet: Fleet, deployment: Deployment, clock: DeploymentClock) -> None:
        if clock.is_over():
            raise RolledBack(f"The deployment was rolled back: it took longer than {deployment.longest_s:g} seconds.")
        if not deployment.alarms:
            return
        cloudwatch = self._control.cloud.client(fleet.role, "cloudwatch")
        missing, ringing = alarms_in_alarm(cloudwatch, deployment.alarms)
        if missing or ringing:
            raise RolledBack(
                f"The deployment was rolled back: alarms {missing or ringing} "
                f"{'do not exist' if missing else 'are in ALARM state'}."
            )

    def _deployment(self, config: Record, endpoint_config: Record, caller: Caller) -> Deployment:
        counts = [variant["InitialInstanceCount"] for variant in endpoint_config["ProductionVariants"]]
        deployment = Deployment.checked(config, instances=counts)
        if deployment.alarms:
            for name in deployment.alarms:
                alarm = f"arn:aws:cloudwatch:{caller.region}:{caller.account}:alarm:{name}"
                self._control.cloud.authorize(caller, "cloudwatch:DescribeAlarms", alarm)
            role = self._role(endpoint_config, caller)
            try:
                missing, _ = alarms_in_alarm(self._control.cloud.client(role, "cloudwatch"), deployment.alarms)
            except ClientError as error:
                raise invalid(f"The execution role {role} cannot read the rollback alarms: {error}") from error
            if missing:
                raise invalid(f"The rollback alarms {missing} do not exist.")
        return deployment

    def _update_capacities(self, request: Record, caller: Caller) -> Record:
        endpoint = self._find(request["EndpointName"], caller)
        self._check_in_service(endpoint)
        wanted = {change["VariantName"]: change for change in request["DesiredWeightsAndCapacities"]}
        if len(wanted) < len(request["DesiredWeightsAndCapacities"]):
            raise invalid("DesiredWeightsAndCapacities names a production variant more than once")
        shown = [dict(variant) for variant in endpoint.record["ProductionVariants"]]
        unknown = wanted.keys() - {variant["VariantName"] for variant in shown}
        if unknown:
            raise invalid(f"Endpoint {endpoint.name} has no production variants {sorted(unknown)}")
        for change in wanted.values():
            if "ServerlessUpdateConfig" in change:
                raise api.not_modelled("UpdateEndpointWeightsAndCapacities with ServerlessUpdateConfig")
            if change.get("DesiredInstanceCount") == 0:
                raise api.not_modelled("a production variant without instances")
        for variant in shown:
            change = wanted.get(variant["VariantName"], {})
            weight = change.get("DesiredWeight", variant["DesiredWeight"])
            count = change.get("DesiredInstanceCount", variant["DesiredInstanceCount"])
            variant |= {"CurrentWeight": weight, "DesiredWeight": weight}
            variant |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
        if not any(variant["DesiredWeight"] for variant in shown):
            raise invalid("The weights of all production variants are zero, so that none would get a request")

        def scale() -> None:
            self._move(endpoint, "Updating")
            for fleet in endpoint.traffic.fleets():
                for variant in shown:
                    weight, count = variant["CurrentWeight"], variant["CurrentInstanceCount"]
                    fleet.scale(variant["VariantName"], weight=weight, instances=count)
            self._move(endpoint, "InService", ProductionVariants=shown)

        self._begin(endpoint, "Updating")
        self._control.start(scale, name=f"endpoint-{endpoint.name}")
        return {"EndpointArn": endpoint.record["EndpointArn"]}

    def _describe(self, request: Record, caller: Caller) -> Record:
        return api.output("DescribeEndpoint", self._find(request["EndpointName"], caller).record)

    def _list(self, request: Record, _caller: Caller) -> Record:
        return _ENDPOINTS.page(request, [endpoint.record for endpoint in self._endpoints.values()])

    def _delete(self, request: Record, caller: Caller) -> Record:
        endpoint = self._find(request["EndpointName"], caller)
        with self._control.changed:
            if endpoint.record["EndpointStatus"] not in _DELETABLE:
                raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')
            endpoint.record["EndpointStatus"] = "Deleting"

        def remove() -> None:
            self._move(endpoint, "Deleting")
            with self._control.changed:
                del self._endpoints[endpoint.name]
                self._control.tags.pop(endpoint.record["EndpointArn"], None)
                self._control.changed.notify_all()
            for fleet in endpoint.traffic.settle(None):
                self._retire(fleet)

        self._control.start(remove, name=f"endpoint-{endpoint.name}")
        return {}

    def _launch(self, endpoint: Endpoint, config: Record) -> Fleet:
        """A healthy new fleet under a configuration; nothing is left of one that does not come up."""
        if self._closing.is_set():
            raise UnhealthyFleet("The emulator is stopping.")
        fleet = Fleet(role=self._role(config, endpoint.caller), capture=config.get("DataCaptureConfig"))
        self._fleets.add(fleet)
        try:
            for variant in config["ProductionVariants"]:
                model = self._models.container(variant["ModelName"], endpoint.caller)
                server = self._server(endpoint, variant["VariantName"], model)
                weight, count = variant["InitialVariantWeight"], variant["InitialInstanceCount"]
                fleet.add(variant["VariantName"], server, weight=weight, instances=count)
            fleet.wait_until_healthy()
        except BaseException:
            fleet.stop()
            self._fleets.discard(fleet)
            raise
        return fleet

    def _server(self, endpoint: Endpoint, variant: str, model: Record) -> ModelServer:
        number = next(self._numbers)
        return ModelServer(
            model,
            folder=self._control.work / "endpoints" / f"{endpoint.name}-{number}",
            log=self._control.work / "logs" / "Endpoints" / endpoint.name / f"{variant}-{number}.log",
            cloud=self._control.cloud,
        )

    def _retire(self, fleet: Fleet) -> None:
        fleet.drain_and_stop()
        self._fleets.discard(fleet)

    def _watch_usage(self) -> None:
        """Publish every minute of AWS, but not more often than each second, what the serving processes use."""
        with self._control.changed:
            if self._usage is not None:
                return
            self._usage = threading.Thread(target=self._publish_usage, name="endpoint-usage", daemon=True)
            self._usage.start()

    def _publish_usage(self) -> None:
        while not self._closing.wait(max(self._aws_time.real_s(60), 1.0)):
            for endpoint in list(self._endpoints.values()):
                for fleet in endpoint.traffic.fleets():
                    publish_usage(self._control.cloud, endpoint.name, fleet)

    def _role(self, config: Record, caller: Caller) -> str:
        first = config["ProductionVariants"][0]["ModelName"]
        role: str = self._models.container(first, caller)["ExecutionRoleArn"]
        return role

    def _find(self, name: str, caller: Caller) -> Endpoint:
        try:
            return self._endpoints[name]
        except KeyError:
            raise invalid(f'Could not find endpoint "{arn(caller, f"endpoint/{name}")}".') from None

    def _begin(self, endpoint: Endpoint, status: str) -> None:
        """Claim an endpoint for a change; only one that is in service can be changed."""
        with self._control.changed:
            self._check_in_service(endpoint)
            endpoint.record["EndpointStatus"] = status

    def _check_in_service(self, endpoint: Endpoint) -> None:
        if endpoint.record["EndpointStatus"] != "InService":
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')

    def _move(self, endpoint: Endpoint, status: str, **changes: object) -> None:
        with self._control.changed:
            changed = endpoint.record | changes | {"EndpointStatus": status, "LastModifiedTime": api.now()}
            endpoint.record = {name: value for name, value in changed.items() if value is not None}
            self._control.changed.notify_all()
        self._emit(endpoint, "SageMaker Endpoint State Change")

    def _show_pending(
        self, endpoint: Endpoint, config: Record, deployment: Deployment, status: str, message: str, instances: int
    ) -> None:
        now = api.now()
        variants = _running(config)["ProductionVariants"]
        for variant in variants:
            variant["CurrentInstanceCount"] = min(instances, variant["DesiredInstanceCount"])
            variant["VariantStatus"] = [{"Status": status, "StatusMessage": message, "StartTime": now}]
        with self._control.changed:
            endpoint.record["PendingDeploymentSummary"] = {
                "EndpointConfigName": config["EndpointConfigName"],
                "ProductionVariants": variants,
                "StartTime": endpoint.record.get("PendingDeploymentSummary", {}).get("StartTime", now),
            }
        if deployment.is_guarded:
            self._emit(endpoint, "SageMaker Endpoint Deployment State Change")

    def _emit(self, endpoint: Endpoint, detail_type: str) -> None:
        with self._control.changed:
            record = dict(endpoint.record)
        detail = {name: record[name] for name in _EVENT if name in record}
        detail["EndpointStatus"] = re.sub(r"(?<!^)(?=[A-Z])", "_", record["EndpointStatus"]).upper()
        detail |= {name: round(record[name] * 1000) for name in ("CreationTime", "LastModifiedTime")}
        detail["Tags"] = dict(self._control.tags.get(record["EndpointArn"], {}))
        self._control.cloud.emit(detail_type, detail, [record["EndpointArn"]])


_DELETABLE = ("InService", "Failed", "UpdateRollbackFailed")
_SHOWN = ("EndpointConfigName", "ProductionVariants", "DataCaptureConfig")
_EVENT = (*_SHOWN[:2], "EndpointName", "EndpointArn", "FailureReason", "PendingDeploymentSummary")


def _running(config: Record, fleet: Fleet | None = None) -> Record:
    """Members of an endpoint's record once it runs a configuration."""
    images = fleet.images if fleet else {}
    variants = []
    for variant in config["ProductionVariants"]:
        name, count = variant["VariantName"], variant["InitialInstanceCount"]
        weight = variant["InitialVariantWeight"]
        image = {"SpecifiedImage": images[name], "ResolvedImage": images[name]} if name in images else None
        variants.append(
            {
                "VariantName": name,
                **({"DeployedImages": [image]} if image else {}),
                "CurrentWeight": weight,
                "DesiredWeight": weight,
                "CurrentInstanceCount": count,
                "DesiredInstanceCount": count,
            }
        )
    return {
        "EndpointConfigName": config["EndpointConfigName"],
        "ProductionVariants": variants,
        "DataCaptureConfig": _capture(config.get("DataCaptureConfig")),
    }


def _capture(config: Record | None) -> Record | None:
    if config is None:
        return None
    enabled = config.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


def _retain(endpoint: Endpoint, config: Record, excluded: list[str]) -> Record:
    """The configuration with the endpoint's present variant properties in place of its own."""
    present = {variant["VariantName"]: variant for variant in endpoint.record["ProductionVariants"]}
    kept = {
        member: shown
        for kind, member, shown in (
            ("DesiredInstanceCount", "InitialInstanceCount", "DesiredInstanceCount"),
            ("DesiredWeight", "InitialVariantWeight", "DesiredWeight"),
        )
        if kind not in excluded
    }
    variants = [
        variant | {member: present[variant["VariantName"]][shown] for member, shown in kept.items()}
        if variant["VariantName"] in present
        else variant
        for variant in config["ProductionVariants"]
    ]
    retained = config | {"ProductionVariants": variants}
    blue = endpoint.traffic.blue
    if "DataCaptureConfig" not in excluded and blue and blue.capture:
        retained["DataCaptureConfig"] = blue.capture
    return retained


def _model_error(endpoint: Endpoint, status: int, reason: str) -> tuple[int, bytes, dict[str, str]]:
    """An error of the model as sagemaker-runtime wraps it; status 0 stands for no answer."""
    kind = "client" if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR else "server"
    region, account = endpoint.caller.region, endpoint.caller.account
    group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    error = {
        "__type": "ModelError",
        "Code": "ModelError",
        "Message": f'Received {kind} error ({status}) from primary with message "{reason}". See {group} in account '
        f"{account} for more information.",
        "OriginalStatusCode": status,
        "OriginalMessage": reason,
        "LogStreamArn": f"arn:aws:logs:{region}:{account}:log-group:{group}",
    }
    return HTTPStatus.FAILED_DEPENDENCY, json.dumps(error).encode(), {"Content-Type": "application/json"}
