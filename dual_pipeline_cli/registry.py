"""Models of the registry, found by package, version or the endpoint that serves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from .environment import EnvironmentClient, EnvironmentTrouble


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model package as DescribeModelPackage answers it, and the endpoint by which it was found, if it was."""

    package: Mapping[str, Any]
    endpoint: str = ""

    @property
    def arn(self) -> str:
        """The package's ARN."""
        return str(self.package["ModelPackageArn"])

    @property
    def model_uri(self) -> str:
        """Where the archive lies."""
        containers = self.package.get("InferenceSpecification", {}).get("Containers", [])
        return next((str(container["ModelDataUrl"]) for container in containers if "ModelDataUrl" in container), "")

    @property
    def evaluation_uri(self) -> str:
        """Where its evaluation.json lies."""
        quality = self.package.get("ModelMetrics", {}).get("ModelQuality", {})
        return str(quality.get("Statistics", {}).get("S3Uri", ""))


def find_model(environment: EnvironmentClient, name: str) -> Model:
    """The model of a package ARN, `group/version`, a version of the project's own group, or an endpoint.

    Raises EnvironmentTrouble when there is none of that name.
    """
    if ":model-package/" in name:
        return Model(package=_package(environment, name))
    group, _, version = name.rpartition("/")
    if version.isdecimal():
        return Model(package=_package(environment, _version(environment, group, int(version))))
    endpoint = name.rpartition(":endpoint/")[2]
    return Model(package=_package(environment, _served(environment, endpoint)), endpoint=endpoint)


def find_own_model(environment: EnvironmentClient, name: str) -> Model:
    """The model of that name, which must be of the project's own group.

    Raises EnvironmentTrouble when there is none, or when it is another project's or environment's.
    """
    model, group = find_model(environment, name), environment["ModelPackageGroupName"]
    if f":model-package/{group}/" not in model.arn:
        raise EnvironmentTrouble(
            f"{model.arn} is no version of {group}, the group of {environment.project} in {environment.environment}:"
            f" name one, such as {group}/1, or say --env and --project"
        )
    return model


def _package(environment: EnvironmentClient, arn: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = environment.client("sagemaker").describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        raise _missing(error, f"no model package {arn} in {environment.where}") from error
    return found


def _version(environment: EnvironmentClient, group: str, version: int) -> str:
    name = group or environment["ModelPackageGroupName"]
    pages = environment.client("sagemaker").get_paginator("list_model_packages").paginate(ModelPackageGroupName=name)
    try:
        for page in pages:
            for package in page["ModelPackageSummaryList"]:
                if package.get("ModelPackageVersion") == version:
                    return str(package["ModelPackageArn"])
    except ClientError as error:
        raise _missing(error, f"no model package group {name} in {environment.where}") from error
    raise EnvironmentTrouble(f"model package group {name} has no version {version}")


def _served(environment: EnvironmentClient, endpoint: str) -> str:
    """The ARN of the package that an endpoint serves."""
    sagemaker = environment.client("sagemaker")
    try:
        described = sagemaker.describe_endpoint(EndpointName=endpoint)
    except ClientError as error:
        raise _missing(
            error, f"no endpoint {endpoint} in {environment.where}: name a package's ARN or version, or release a model"
        ) from error
    config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    containers = [model.get("PrimaryContainer", {}), *model.get("Containers", [])]
    package = next((container["ModelPackageName"] for container in containers if "ModelPackageName" in container), "")
    if not package:
        raise EnvironmentTrouble(f"endpoint {endpoint} serves a model that is from no package of the registry")
    return str(package)


def _missing(error: ClientError, sentence: str) -> Exception:
    """What AWS says of something that does not exist, as a sentence; anything else as it is."""
    message = error.response["Error"].get("Message", "")
    known = ("Could not find", "does not exist", "not found")
    return EnvironmentTrouble(sentence) if any(part in message for part in known) else error
