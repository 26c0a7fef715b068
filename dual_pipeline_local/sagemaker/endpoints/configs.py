"""Endpoint configurations.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
"""

from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control, Operations, arn
from dual_pipeline_local.sagemaker.listing import Listing

_CONFIGS = Listing(operation="ListEndpointConfigs", name="EndpointConfigName")
_ABSENT = ("AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants", "MetricsConfig", "ExecutionRoleArn")
_ABSENT_IN_VARIANT = (
    "ServerlessConfig",
    "InstancePools",
    "AcceleratorType",
    "CoreDumpConfig",
    "ManagedInstanceScaling",
    "CapacityReservationConfig",
)


class EndpointConfigs:
    """Endpoint configurations by name; they never change."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._configs: dict[str, Record] = {}
        self.operations: Operations = {
            "CreateEndpointConfig": self._create,
            "DescribeEndpointConfig": self._describe,
            "ListEndpointConfigs": self._list,
            "DeleteEndpointConfig": self._delete,
        }

    def get(self, name: str, caller: Caller) -> Record:
        """The configuration of that name."""
        try:
            return self._configs[name]
        except KeyError:
            config_arn = arn(caller, f"endpoint-config/{name}")
            raise invalid(f'Could not find endpoint configuration "{config_arn}".') from None

    def _create(self, request: Record, caller: Caller) -> Record:
        name = request["EndpointConfigName"]
        config_arn = arn(caller, f"endpoint-config/{name}")
        for member in _ABSENT:
            if request.get(member):
                raise not_modelled(f"CreateEndpointConfig with {member}")
        names = [variant["VariantName"] for variant in request["ProductionVariants"]]
        if len(set(names)) != len(names):
            raise invalid(f"Production variant names must be unique, got {names}")
        for variant in request["ProductionVariants"]:
            self._check_variant(variant, caller)
        with self._control.changed:
            if name in self._configs:
                raise invalid(f'Cannot create already existing endpoint configuration "{config_arn}".')
            self._control.tag(config_arn, request)
            self._configs[name] = request | {"EndpointConfigArn": config_arn, "CreationTime": api.now()}
        return {"EndpointConfigArn": config_arn}

    def _check_variant(self, variant: Record, caller: Caller) -> None:
        for member in _ABSENT_IN_VARIANT:
            if variant.get(member):
                raise not_modelled(f"CreateEndpointConfig with a variant's {member}")
        for member in ("ModelName", "InstanceType", "InitialInstanceCount"):
            if member not in variant:
                raise not_modelled(f"CreateEndpointConfig with a variant that lacks {member}")
        variant.setdefault("InitialVariantWeight", 1.0)
        self._control.call("DescribeModel", {"ModelName": variant["ModelName"]}, caller)

    def _describe(self, request: Record, caller: Caller) -> Record:
        return api.output("DescribeEndpointConfig", self.get(request["EndpointConfigName"], caller))

    def _list(self, request: Record, _caller: Caller) -> Record:
        return _CONFIGS.page(request, list(self._configs.values()))

    def _delete(self, request: Record, caller: Caller) -> Record:
        config = self.get(request["EndpointConfigName"], caller)
        with self._control.changed:
            del self._configs[config["EndpointConfigName"]]
            self._control.tags.pop(config["EndpointConfigArn"], None)
        return {}
