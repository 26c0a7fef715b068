"""Plays the people who decide on a local run's model: one, and another where the policy asks for two."""

from __future__ import annotations

import json

from .safety import LocalAws

_SECOND = "second-approver"
_MOST = 2


class Approver:
    """Decides by the API that people use; each approval of the same package comes from another person."""

    def __init__(self, aws: LocalAws) -> None:
        self._people = [aws]
        self._given: dict[str, int] = {}

    def approve(self, package_arn: str) -> str:
        """Approve a package that waits, and say so; nothing when everybody there is has approved it."""
        given = self._given.get(package_arn, 0)
        if given == _MOST:
            return ""
        if given == len(self._people):
            self._people.append(self._second(package_arn))
        self._people[given].client("sagemaker").update_model_package(
            ModelPackageArn=package_arn,
            ModelApprovalStatus="Approved",
            ApprovalDescription="Approved by the local run, which plays the approver",
        )
        self._given[package_arn] = given + 1
        return f"approved {package_arn}"

    def reject(self, package_arn: str, *, because: str) -> str:
        """Reject a package that waits, and say so."""
        self._people[0].client("sagemaker").update_model_package(
            ModelPackageArn=package_arn, ModelApprovalStatus="Rejected", ApprovalDescription=because
        )
        return f"rejected {package_arn}: {because}"

    def _second(self, package_arn: str) -> LocalAws:
        """An IAM user of the local AWS who may approve packages of the same group."""
        root = self._people[0]
        iam = root.client("iam")
        iam.create_user(UserName=_SECOND)
        statement = {
            "Effect": "Allow",
            "Action": "sagemaker:UpdateModelPackage",
            "Resource": package_arn.rpartition("/")[0] + "/*",
        }
        iam.put_user_policy(
            UserName=_SECOND,
            PolicyName="approve",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        key = iam.create_access_key(UserName=_SECOND)["AccessKey"]
        return LocalAws(root.settings, key=(key["AccessKeyId"], key["SecretAccessKey"]))
