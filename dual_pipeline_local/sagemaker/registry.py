"""The model registry: groups and versioned packages.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html
"""

from datetime import UTC, datetime

from dual_pipeline_local import ecr, iam
from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid, not_modelled
from dual_pipeline_local.sagemaker.control import Control, Operations, arn
from dual_pipeline_local.sagemaker.listing import Listing

_GROUPS = Listing(operation="ListModelPackageGroups", name="ModelPackageGroupName", order="Ascending")
_PACKAGES = Listing(
    operation="ListModelPackages",
    name="ModelPackageGroupName",
    order="Ascending",
    equals={"ModelApprovalStatus": "ModelApprovalStatus", "ModelPackageGroupName": "ModelPackageGroupName"},
)


class Registry:
    """Model package groups and model packages."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._groups: dict[str, Record] = {}
        self._packages: dict[str, Record] = {}
        self._versions: dict[str, int] = {}
        self.operations: Operations = {
            "CreateModelPackageGroup": self._create_group,
            "DescribeModelPackageGroup": self._describe_group,
            "ListModelPackageGroups": self._list_groups,
            "DeleteModelPackageGroup": self._delete_group,
            "CreateModelPackage": self._create,
            "DescribeModelPackage": self._describe,
            "ListModelPackages": self._list,
            "UpdateModelPackage": self._update,
            "DeleteModelPackage": self._delete,
        }

    def _create_group(self, request: Record, caller: Caller) -> Record:
        name = request["ModelPackageGroupName"]
        if request.get("ManagedConfiguration"):
            raise not_modelled("CreateModelPackageGroup with ManagedConfiguration")
        group_arn = arn(caller, f"model-package-group/{name}")
        with self._control.changed:
            if name in self._groups:
                raise invalid(f"Model Package Group already exists: {group_arn}")
            self._control.tag(group_arn, request)
            self._groups[name] = request | {
                "ModelPackageGroupArn": group_arn,
                "ModelPackageGroupStatus": "Completed",
                "CreationTime": api.now(),
                "CreatedBy": _who(caller),
            }
        return {"ModelPackageGroupArn": group_arn}

    def _describe_group(self, request: Record, caller: Caller) -> Record:
        return api.output("DescribeModelPackageGroup", self._group(request["ModelPackageGroupName"], caller))

    def _list_groups(self, request: Record, _caller: Caller) -> Record:
        return _GROUPS.page(request, list(self._groups.values()))

    def _delete_group(self, request: Record, caller: Caller) -> Record:
        group = self._group(request["ModelPackageGroupName"], caller)
        name = group["ModelPackageGroupName"]
        with self._control.changed:
            if any(package["ModelPackageGroupName"] == name for package in self._packages.values()):
                raise ApiError(
                    "ConflictException",
                    f"Model Package Group cannot be deleted because it still contains Model Packages: "
                    f"{group['ModelPackageGroupArn']}",
                )
            del self._groups[name]
            self._control.tags.pop(group["ModelPackageGroupArn"], None)
        return {}

    def _create(self, request: Record, caller: Caller) -> Record:
        for member in ("ValidationSpecification", "SourceAlgorithmSpecification", "ModelPackageName"):
            if request.get(member):
                raise not_modelled(f"CreateModelPackage with {member}")
        if "ModelPackageGroupName" not in request:
            raise not_modelled("CreateModelPackage without ModelPackageGroupName (unversioned packages)")
        name = self._group(request["ModelPackageGroupName"], caller)["ModelPackageGroupName"]
        now = api.now()
        with self._control.changed:
            version = self._versions[name] = self._versions.get(name, 0) + 1
            package_arn = arn(caller, f"model-package/{name}/{version}")
            self._control.tag(package_arn, request)
            _note_digests(request)
            package = self._packages[package_arn] = {
                "ModelApprovalStatus": "PendingManualApproval",
                "CertifyForMarketplace": False,
                **{member: value for member, value in request.items() if member != "ClientToken"},
                "ModelPackageGroupName": name,
                "ModelPackageVersion": version,
                "ModelPackageArn": package_arn,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                "CreationTime": now,
                "LastModifiedTime": now,
                "CreatedBy": _who(caller),
            }
        self._emit(package)
        return {"ModelPackageArn": package_arn}

    def _describe(self, request: Record, _caller: Caller) -> Record:
        return api.output("DescribeModelPackage", self._package(request["ModelPackageName"]))

    def _list(self, request: Record, caller: Caller) -> Record:
        if request.pop("ModelPackageType", "Versioned") == "Unversioned":
            return {"ModelPackageSummaryList": []}
        if "ModelPackageGroupName" in request:
            group = self._group(request["ModelPackageGroupName"], caller)
            request["ModelPackageGroupName"] = group["ModelPackageGroupName"]
        return _PACKAGES.page(request, list(self._packages.values()))

    def _update(self, request: Record, caller: Caller) -> Record:
        package = self._package(request["ModelPackageArn"])
        unknown = set(request) - {"ModelPackageArn", "ClientToken", *_UPDATABLE}
        if unknown:
            raise not_modelled(f"UpdateModelPackage with {', '.join(sorted(unknown))}")
        with self._control.changed:
            properties = package.get("CustomerMetadataProperties", {}) | request.get("CustomerMetadataProperties", {})
            for name in request.get("CustomerMetadataPropertiesToRemove", []):
                properties.pop(name, None)
            for member in ("ModelApprovalStatus", "ApprovalDescription"):
                if member in request:
                    package[member] = request[member]
            if properties or "CustomerMetadataProperties" in package:
                package["CustomerMetadataProperties"] = properties
            package |= {"LastModifiedTime": api.now(), "LastModifiedBy": _who(caller)}
        self._emit(package)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def _delete(self, request: Record, _caller: Caller) -> Record:
        package = self._package(request["ModelPackageName"])
        with self._control.changed:
            del self._packages[package["ModelPackageArn"]]
            self._control.tags.pop(package["ModelPackageArn"], None)
        return {}

    def _group(self, name: str, caller: Caller) -> Record:
        name = name.rpartition("model-package-group/")[2]
        try:
            return self._groups[name]
        except KeyError:
            raise invalid(f"ModelPackageGroup {arn(caller, f'model-package-group/{name}')} does not exist.") from None

    def _package(self, package_arn: str) -> Record:
        try:
            return self._packages[package_arn]
        except KeyError:
            raise invalid(f"ModelPackage {package_arn} does not exist.") from None

    def _emit(self, package: Record) -> None:
        detail = {name: value for name, value in package.items() if name not in ("CreatedBy", "LastModifiedBy")}
        for name in ("CreationTime", "LastModifiedTime"):
            detail[name] = datetime.fromtimestamp(package[name], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._control.cloud.emit("SageMaker Model Package State Change", detail, [package["ModelPackageArn"]])


def _note_digests(package: Record) -> None:
    """SageMaker looks the digests of a package's images up when it is registered."""
    for container in package.get("InferenceSpecification", {}).get("Containers", []):
        if found := ecr.digest(container["Image"]):
            container.setdefault("ImageDigest", found)


def _who(caller: Caller) -> Record:
    who = iam.principal_arn(caller)
    return {"IamIdentity": {"Arn": who, "PrincipalId": who.rpartition("/")[2]}}


_UPDATABLE = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "CustomerMetadataProperties",
    "CustomerMetadataPropertiesToRemove",
)
