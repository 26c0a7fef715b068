"""The environments of this deployment: the one configuration file of the platform team."""

from dataclasses import replace
from datetime import timedelta

from dual_pipeline.environment import Environment
from dual_pipeline.model_project import Approval, Instances, Limits, Rollout
from pipeline_code.census.project import CENSUS, TUNING

DEV = Environment(
    name="dev",
    region="eu-west-1",
    projects=(
        replace(
            CENSUS,
            instances=Instances(processing="ml.m5.large", training="ml.m5.large", endpoint="ml.m5.large"),
            tuning=replace(TUNING, max_jobs=2, max_parallel_jobs=2),
        ),
    ),
    monthly_budget_usd=200,
    sandboxes=True,
)

STAGING = Environment(
    name="staging",
    region="eu-west-1",
    projects=(
        replace(
            CENSUS,
            rollout=Rollout(strategy="canary", instance_count=2, wait=timedelta(minutes=5)),
        ),
    ),
    monthly_budget_usd=500,
)

PROD = Environment(
    name="prod",
    region="eu-west-1",
    projects=(
        replace(
            CENSUS,
            instances=Instances(processing="ml.m5.xlarge", training="ml.m5.2xlarge", endpoint="ml.m5.xlarge"),
            tuning=replace(TUNING, max_jobs=20, max_parallel_jobs=4),
            approval=Approval(mode="one", deadline=timedelta(days=7)),
            limits=Limits(cool_down=timedelta(hours=1)),
            rollout=Rollout(
                strategy="canary",
                instance_count=2,
                max_instance_count=6,
                canary_percent=10,
                wait=timedelta(minutes=15),
                deadline=timedelta(hours=2),
            ),
        ),
    ),
    monthly_budget_usd=2_000,
)

ENVIRONMENTS = (DEV, STAGING, PROD)
