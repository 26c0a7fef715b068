"""One environment: what its projects share, then four stacks per project."""

import aws_cdk as cdk
from constructs import Construct

from dual_pipeline.environment import Environment
from stacks.foundation import Foundation
from stacks.registry import Registry


class EnvironmentStage(cdk.Stage):
    """Everything of one environment, in its account and region, under its permissions boundary if it has one."""

    def __init__(self, scope: Construct, id_: str, *, environment: Environment) -> None:
        boundary = environment.permissions_boundary
        super().__init__(
            scope,
            id_,
            env=cdk.Environment(account=environment.account, region=environment.region),
            permissions_boundary=cdk.PermissionsBoundary.from_name(boundary) if boundary else None,
        )
        foundation = Foundation(self, "Foundation", environment=environment)
        for project in environment.projects:
            prefix = "".join(part.capitalize() for part in project.name.split("-"))
            registry = Registry(self, f"{prefix}Registry", environment=environment, project=project)
            _ = foundation, registry
