"""Where the inner loop registers models and people approve them."""

import aws_cdk as cdk
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct


class ModelRegistry(Construct):
    """A model package group under a name that operators type; it is kept when the stack goes, unless told otherwise."""

    def __init__(
        self, scope: Construct, id_: str, *, name: str, description: str, removal_policy: cdk.RemovalPolicy
    ) -> None:
        super().__init__(scope, id_)
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Group",
            model_package_group_name=name,
            model_package_group_description=description or None,
        )
        group.apply_removal_policy(removal_policy)
        self.group_name = name
        self.group_arn = group.attr_model_package_group_arn
