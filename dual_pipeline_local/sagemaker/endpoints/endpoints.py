"""Endpoints: created, updated blue/green under guard, scaled, invoked, deleted.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
"""

import itertools
import json
import re
import threading
import time
from dataclasses import dataclass
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
from dual_pipeline_local.sagemaker.endpoints.deployment import Deployment, alarms_in_alarm
from dual_pipeline_local.sagemaker.endpoints.fleet import Fleet, UnhealthyFleet
from dual_pipeline_local.sagemaker.listing import Listing
from dual_pipeline_local.sagemaker.model_server import ModelServer
from dual_pipeline_local.sagemaker.models import Models

_ENDPOINTS = Listing(operation="ListEndpoints", name="EndpointName", status="EndpointStatus")
_ALARM_POLL_S = 0.2


class RolledBack(Exception):
    """The deployment goes back to the old fleet; `str()` says why."""


@dataclass
class Endpoint:
    """An endpoint: its record as Describe answers it, and the fleet that takes its traffic."""

    record: Record
    caller: Caller
    fleet: Fleet | None = None

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
        self._capture = Capture(control.cloud)
        self.operations: Operations = {
            "CreateEndpoint": self._create,
            "UpdateEndpoint": self._update,
            "UpdateEndpointWeightsAndCapacities": self._update_capacities,
            "DescribeEndpoint": self._describe,
            "ListEndpoints": self._list,
            "DeleteEndpoint": self._delete,
        }

    def invoke(
        self, name: str, body: bytes, *, content_type: str | None, accept: str | None, caller: Caller
    ) -> tuple[int, bytes, dict[str, str]]:
        """See SageMaker.invoke_endpoint."""
        headers = {"Content-Type": content_type or "application/octet-stream", "Accept": accept or "*/*"}
        with self._control.changed:
            endpoint = self._endpoints.get(name)
            fleet = endpoint.fleet if endpoint else None
            if endpoint is None or fleet is None:
                raise ApiError("ValidationError", f"Endpoint {name} of account {caller.account} not found.")
            weights = {v["VariantName"]: v["CurrentWeight"] for v in endpoint.record["ProductionVariants"]}
            fleet.enter()
        try:
            variant, answer = fleet.invoke(weights, body, headers)
        except OSError as error:
            raise ApiError("ServiceUnavailable", f"The endpoint's server broke off: {error}", 503) from error
        finally:
            fleet.leave()
        if answer.status < HTTPStatus.BAD_REQUEST:
            if fleet.capture:
                exchange = (body, headers["Content-Type"]), (answer.body, answer.content_type)
                self._capture.note(fleet.capture, name, variant, fleet.role, *exchange)
            answered = {"Content-Type": answer.content_type, VARIANT_HEADER: variant}
            return answer.status, answer.body, answered
        return _model_error(endpoint, answer.status, answer.body.decode(errors="replace"))

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
            endpoint.fleet = self._launch(endpoint, config)
        except Exception as error:  # whatever keeps a fleet from coming up is the endpoint's reason
            self._move(endpoint, "Failed", FailureReason=str(error)[:1024])
        else:
            self._move(endpoint, "InService", **_running(config, endpoint.fleet))

    def _update(self, request: Record, caller: Caller) -> Record:
        endpoint = self._find(request["EndpointName"], caller)
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
        """Blue/green: a new fleet beside the old one, traffic moved when it is healthy, and back if alarms ring."""
        self._move(endpoint, "Updating", LastDeploymentConfig=deployment.config or None, FailureReason=None)
        old, before, green = endpoint.fleet, dict(endpoint.record), None
        try:
            self._show_pending(endpoint, config, deployment, "Creating", "Launching {} instance(s).")
            green = self._launch(endpoint, config)
            self._check_alarms(green, deployment)
            self._show_pending(
                endpoint, config, deployment, "ActivatingTraffic", "Activating traffic on {} instance(s)."
            )
            with self._control.changed:
                endpoint.fleet = green
            self._show_pending(endpoint, config, deployment, "Baking", "Baking with traffic enabled on {} instance(s).")
            self._bake(green, deployment)
        except Exception as error:  # as above: the old fleet stays whatever happens to the new one
            self._move(endpoint, "RollingBack", PendingDeploymentSummary=None)
            with self._control.changed:
                endpoint.fleet = old
            if green is not None:
                self._retire(green)
            kept = {name: before.get(name) for name in _SHOWN}
            self._move(endpoint, "InService", FailureReason=str(error)[:1024], **kept)
            return
        if old is not None:
            self._retire(old)
        self._move(endpoint, "InService", PendingDeploymentSummary=None, **_running(config, green))

    def _bake(self, fleet: Fleet, deployment: Deployment) -> None:
        deadline = time.monotonic() + self._aws_time.real_s(deployment.wait_s)
        self._check_alarms(fleet, deployment)
        while time.monotonic() < deadline:
            if self._closing.wait(min(_ALARM_POLL_S, max(0.0, deadline - time.monotonic()))):
                raise RolledBack("The emulator is stopping.")
            self._check_alarms(fleet, deployment)

    def _check_alarms(self, fleet: Fleet, deployment: Deployment) -> None:
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
        wanted = {change["VariantName"]: change for change in request["DesiredWeightsAndCapacities"]}
        shown = [dict(variant) for variant in endpoint.record["ProductionVariants"]]
        unknown = wanted.keys() - {variant["VariantName"] for variant in shown}
        if unknown:
            raise invalid(f"Endpoint {endpoint.name} has no production variants {sorted(unknown)}")
        for change in wanted.values():
            if "ServerlessUpdateConfig" in change:
                raise api.not_modelled("UpdateEndpointWeightsAndCapacities with ServerlessUpdateConfig")
        for variant in shown:
            change = wanted.get(variant["VariantName"], {})
            weight = change.get("DesiredWeight", variant["DesiredWeight"])
            count = change.get("DesiredInstanceCount", variant["DesiredInstanceCount"])
            variant |= {"CurrentWeight": weight, "DesiredWeight": weight}
            variant |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}

        def scale() -> None:
            self._move(endpoint, "Updating")
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
            if endpoint.record["EndpointStatus"] not in ("InService", "Failed"):
                raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')
            endpoint.record["EndpointStatus"] = "Deleting"

        def remove() -> None:
            self._move(endpoint, "Deleting")
            with self._control.changed:
                fleet, endpoint.fleet = endpoint.fleet, None
                del self._endpoints[endpoint.name]
                self._control.tags.pop(endpoint.record["EndpointArn"], None)
                self._control.changed.notify_all()
            if fleet is not None:
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
                fleet.add(variant["VariantName"], self._server(endpoint, variant["VariantName"], model))
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
            if endpoint.record["EndpointStatus"] != "InService":
                raise invalid(f'Cannot update in-progress endpoint "{endpoint.record["EndpointArn"]}".')
            endpoint.record["EndpointStatus"] = status

    def _move(self, endpoint: Endpoint, status: str, **changes: object) -> None:
        with self._control.changed:
            changed = endpoint.record | changes | {"EndpointStatus": status, "LastModifiedTime": api.now()}
            endpoint.record = {name: value for name, value in changed.items() if value is not None}
            self._control.changed.notify_all()
        self._emit(endpoint, "SageMaker Endpoint State Change")

    def _show_pending(
        self, endpoint: Endpoint, config: Record, deployment: Deployment, status: str, message: str
    ) -> None:
        now = api.now()
        variants = _running(config)["ProductionVariants"]
        for variant in variants:
            told = message.format(variant["DesiredInstanceCount"])
            variant["VariantStatus"] = [{"Status": status, "StatusMessage": told, "StartTime": now}]
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
    if "DataCaptureConfig" not in excluded and endpoint.fleet and endpoint.fleet.capture:
        retained["DataCaptureConfig"] = endpoint.fleet.capture
    return retained


def _model_error(endpoint: Endpoint, status: int, reason: str) -> tuple[int, bytes, dict[str, str]]:
    """An error of the model as sagemaker-runtime wraps it."""
    kind = "client" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server"
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
