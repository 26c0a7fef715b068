"""What every stack has in common: tags, and whether its data outlives it."""

import aws_cdk as cdk
from constructs import Construct

from dual_pipeline.environment import Environment
from dual_pipeline.loop_contract import TAG_COST_CENTER, TAG_ENVIRONMENT, TAG_PROJECT
from dual_pipeline.model_project import ModelProject


class EnvironmentStack(cdk.Stack):
    """A stack of one environment, and of one project if given; its tags go to the stack and to every resource."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        description: str,
        project: ModelProject | None = None,
    ) -> None:
        tags = {TAG_ENVIRONMENT: environment.name, TAG_COST_CENTER: environment.cost_center}
        if project is not None:
            tags[TAG_PROJECT] = project.name
        super().__init__(scope, id_, description=description, tags=tags)
        for name, value in tags.items():
            cdk.Tags.of(self).add(name, value)
        self.removal_policy = cdk.RemovalPolicy.DESTROY if environment.deletes_data else cdk.RemovalPolicy.RETAIN
