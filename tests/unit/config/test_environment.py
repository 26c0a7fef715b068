"""Environments refuse what AWS or the design would refuse later, and say what is allowed."""

from dataclasses import replace
from typing import Any

import boto3
import pytest

from dual_pipeline.environment import REGIONS, Environment, VpcConfig
from dual_pipeline.errors import ConfigError
from dual_pipeline.workflow import Workflow
from environments import DEV, ENVIRONMENTS

VPC = VpcConfig(
    vpc_id="vpc-0123456789abcdef0", subnet_ids=("subnet-0123456789",), security_group_ids=("sg-0123456789",)
)

FAR_KEY = "arn:aws:kms:us-east-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"


def test_regions_are_those_where_sagemaker_is_offered() -> None:
    """The table of regions equals botocore's list for SageMaker in the commercial, China and GovCloud partitions."""
    session = boto3.session.Session()
    offered = {
        region
        for partition in ("aws", "aws-cn", "aws-us-gov")
        for region in session.get_available_regions("sagemaker", partition_name=partition)
    }
    assert offered == REGIONS


def test_shipped_environments_are_dev_staging_and_prod() -> None:
    """The configuration file holds the three environments, each keeping its data."""
    assert [("dev", False), ("staging", False), ("prod", False)] == [(e.name, e.deletes_data) for e in ENVIRONMENTS]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "Dev", "Environment.name must be lower-case letters and digits, a letter first, at most 12 characters, got 'Dev'"),
        ("account", "1234", "Environment.account must be 12 digits in quotes, or None, got '1234'"),
        ("account", 123456789012, "Environment.account must be 12 digits in quotes, or None, got 123456789012"),
        ("projects", (), "Environment.projects must be a tuple of ModelProject with at least one, got ()"),
        ("cost_center", "", "Environment.cost_center must be 1 to 256 letters, digits, spaces and _.:/=+-@, got ''"),
        ("notification_email", "me", "Environment.notification_email must be an e-mail address, got 'me'"),
        ("monthly_budget_usd", 0, "Environment.monthly_budget_usd must be a number from 1 to 1e+07, got 0"),
        ("over_budget", "halt", "Environment.over_budget must be one of ask, stop, warn, got 'halt'"),
        ("permissions_boundary", "a b", "Environment.permissions_boundary must be the name of a managed policy of the account, got 'a b'"),
        ("existing_key_arn", "alias/x", "Environment.existing_key_arn must be the ARN of a KMS key in eu-west-1, got 'alias/x'"),
        ("existing_key_arn", FAR_KEY, f"Environment.existing_key_arn must be the ARN of a KMS key in eu-west-1, got '{FAR_KEY}'"),
        ("existing_roles", {"training": "me"}, "Environment.existing_roles must be a mapping to ARNs of IAM roles, got {'training': 'me'}"),
    ],
)  # fmt: skip
def test_bad_field_is_named_with_value_and_what_is_allowed(field: str, value: Any, message: str) -> None:
    """A field out of range raises one error that names it, the value got and what is allowed."""
    with pytest.raises(ConfigError) as error:
        replace(DEV, **{field: value})
    assert message == str(error.value)


def test_unknown_region_is_refused() -> None:
    """A region that does not exist is refused with the list of those that do."""
    with pytest.raises(ConfigError, match=r"^Environment\.region must be one of af-south-1, .*, got 'eu-west-9'$"):
        replace(DEV, region="eu-west-9")


def test_two_projects_of_one_name_are_refused() -> None:
    """Resources are named after projects, so that two of one name cannot share an environment."""
    with pytest.raises(ConfigError, match=r"^Environment\.projects must be without duplicate names"):
        replace(DEV, projects=(*DEV.projects, *DEV.projects))


@pytest.mark.parametrize(("one", "other"), [("a-1", "a1"), ("a1-b", "a1b"), ("credit-risk", "creditrisk")])
def test_names_apart_by_hyphens_only_are_refused(one: str, other: str) -> None:
    """Stacks are named after projects without their hyphens, so that such names cannot share an environment."""
    projects = tuple(replace(DEV.projects[0], name=name) for name in ("z", one, other))
    with pytest.raises(ConfigError) as error:
        replace(DEV, projects=projects)
    assert (
        "Environment.projects must differ in name by more than hyphens, which the names of their stacks leave out,"
        f" got '{one}' and '{other}': rename one"
    ) == str(error.value)


@pytest.mark.parametrize(
    ("other", "made"),
    [
        ("z-train", "z-train"),
        ("z-train-b", "z-train"),
        ("z-outer", "z-outer-loop"),
        ("z-x", "z-x-save"),
        ("z-x-save-b", "z-x-save"),
    ],
)
def test_names_that_meet_what_another_project_makes_are_refused(other: str, made: str) -> None:
    """A job or machine of one project never is named, or may be touched, as one of another."""
    workflows = (Workflow(name="x-save", file="x.json"),)
    first = replace(DEV.projects[0], name="z", workflows=workflows)
    for projects in (
        (first, replace(first, name=other, workflows=())),
        (replace(first, name=other, workflows=()), first),
    ):
        with pytest.raises(ConfigError) as error:
            replace(DEV, projects=projects)
        assert (
            f"Environment.projects must not have a name that meets what another project makes, got '{other}', while 'z'"
            f" makes {made}: rename one of them"
        ) == str(error.value)
    assert replace(DEV, projects=(first, replace(first, name="z-two"), replace(first, name="z-trains")))


def test_deleting_data_takes_two_switches() -> None:
    """One switch alone is refused; both together let destroy delete the data."""
    with pytest.raises(ConfigError, match=r"^Environment\.confirm_delete_data must be 'dev' when"):
        replace(DEV, delete_data_on_destroy=True)
    assert replace(DEV, delete_data_on_destroy=True, confirm_delete_data="dev").deletes_data
    assert not replace(DEV, confirm_delete_data="dev").deletes_data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vpc_id", "0123"),
        ("subnet_ids", ()),
        ("subnet_ids", ("sg-0123456789",)),
        ("security_group_ids", ("sg-0123456789",) * 6),
        ("security_group_ids", ["sg-0123456789"]),
    ],
)
def test_vpc_ids_are_checked(field: str, value: Any) -> None:
    """Ids of a VPC must have AWS's form and number."""
    with pytest.raises(ConfigError, match=rf"^VpcConfig\.{field} must be .*, got "):
        replace(VPC, **{field: value})


def test_configuration_is_frozen_and_keyword_only() -> None:
    """A configuration cannot be changed after it was checked, nor be built by position."""
    with pytest.raises(AttributeError):
        DEV.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Environment("dev", "eu-west-1", DEV.projects)  # type: ignore[call-arg]
