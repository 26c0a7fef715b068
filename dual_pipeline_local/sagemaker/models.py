"""Models: an image, model data and a role, given directly or by an approved package.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
"""

from botocore.exceptions import ClientError

from dual_pipeline_local import staging
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control, Operations, arn
from dual_pipeline_local.sagemaker.listing import Listing

_MODELS = Listing(operation="ListModels", name="ModelName")


class Models:
    """Models by name."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._models: dict[str, Record] = {}
        self.operations: Operations = {
            "CreateModel": self._create,
            "DescribeModel": self._describe,
            "ListModels": self._list,
            "DeleteModel": self._delete,
        }

    def container(self, name: str, caller: Caller) -> Record:
        """What a fleet needs to serve a model: Image, ModelDataUrl, Environment, ExecutionRoleArn, isolation."""
        model = self._model(name, caller)
        return self._resolve(model["PrimaryContainer"], caller) | {
            "ExecutionRoleArn": model["ExecutionRoleArn"],
            "EnableNetworkIsolation": model.get("EnableNetworkIsolation", False),
        }

    def _create(self, request: Record, caller: Caller) -> Record:
        name = request["ModelName"]
        model_arn = arn(caller, f"model/{name}")
        if "InferenceExecutionConfig" in request:
            raise not_modelled("CreateModel with InferenceExecutionConfig")
        containers = [*request.pop("Containers", []), *filter(None, [request.get("PrimaryContainer")])]
        if len(containers) != 1:
            raise not_modelled(f"CreateModel with {len(containers)} containers")
        if "ExecutionRoleArn" not in request:
            raise invalid("ExecutionRoleArn is required for a model with model data")
        data = self._resolve(containers[0], caller)["ModelDataUrl"]
        self._check_data(data, request["ExecutionRoleArn"])
        with self._control.changed:
            if name in self._models:
                raise invalid(f'Cannot create already existing model "{model_arn}".')
            self._control.tag(model_arn, request)
            self._models[name] = request | {
                "ModelArn": model_arn,
                "PrimaryContainer": containers[0],
                "CreationTime": api.now(),
            }
        return {"ModelArn": model_arn}

    def _describe(self, request: Record, caller: Caller) -> Record:
        return api.output("DescribeModel", self._model(request["ModelName"], caller))

    def _list(self, request: Record, _caller: Caller) -> Record:
        return _MODELS.page(request, list(self._models.values()))

    def _delete(self, request: Record, caller: Caller) -> Record:
        model = self._model(request["ModelName"], caller)
        with self._control.changed:
            del self._models[model["ModelName"]]
            self._control.tags.pop(model["ModelArn"], None)
        return {}

    def _model(self, name: str, caller: Caller) -> Record:
        try:
            return self._models[name]
        except KeyError:
            raise invalid(f'Could not find model "{arn(caller, f"model/{name}")}".') from None

    def _resolve(self, container: Record, caller: Caller) -> Record:
        """The container with its package, if it names one, replaced by what the package says."""
        if container.get("Mode", "SingleModel") != "SingleModel":
            raise not_modelled(f"CreateModel with a container of Mode {container['Mode']}")
        for member in (
            "MultiModelConfig",
            "AdditionalModelDataSources",
            "ModelDataSource",
            "InferenceSpecificationName",
        ):
            if container.get(member):
                raise not_modelled(f"CreateModel with a container's {member}")
        if "ModelPackageName" not in container:
            if "ModelDataUrl" not in container or "Image" not in container:
                raise not_modelled("CreateModel with a container that lacks Image or ModelDataUrl")
            return {"Environment": {}} | container
        name = container["ModelPackageName"]
        package = self._control.call("DescribeModelPackage", {"ModelPackageName": name}, caller)
        if package["ModelApprovalStatus"] != "Approved":
            raise invalid(
                f"Model Package {name} cannot be used to create a model: its approval status is "
                f"{package['ModelApprovalStatus']}, it must be Approved"
            )
        packaged: list[Record] = package["InferenceSpecification"]["Containers"]
        if len(packaged) != 1 or "ModelDataUrl" not in packaged[0]:
            raise not_modelled("CreateModel from a package that has not exactly one container with ModelDataUrl")
        environment = packaged[0].get("Environment", {}) | container.get("Environment", {})
        return packaged[0] | {"Environment": environment}

    def _check_data(self, uri: str, role: str) -> None:
        bucket, key = staging.parse(uri)
        try:
            self._control.cloud.client(role, "s3").head_object(Bucket=bucket, Key=key)
        except (ClientError, ApiError) as error:
            raise invalid(
                f'Could not access model data at {uri}. Please ensure that the role "{role}" exists and that its '
                'trust relationship policy allows the action "sts:AssumeRole" for the service principal '
                '"sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the '
                f"object is located in the region. ({error})"
            ) from error
