"""One deployment of the platform: an account, a region and the model projects it serves."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dual_pipeline.errors import ConfigError
from dual_pipeline.model_project import ModelProject
from dual_pipeline.validation import (
    check,
    check_choice,
    check_mapping,
    check_match,
    check_number,
    check_type,
    check_unique,
)
from dual_pipeline.workflow import TAKEN

# Where Amazon SageMaker AI is offered: botocore's endpoints.json, held to it by a test.
REGIONS = frozenset(
    """
    af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
    ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1
    cn-north-1 cn-northwest-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2
    eu-west-3 il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1 us-east-1 us-east-2 us-gov-east-1
    us-gov-west-1 us-west-1 us-west-2
    """.split()
)
ROLE_KINDS = (
    "processing",
    "training",
    "scoring",
    "pipeline",
    "code",
    "decide",
    "ingest",
    "quality",
    "endpoint",
    "drift",
    "batch",
)
_ROLE_ARN = r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+"


@dataclass(frozen=True, kw_only=True)
class VpcConfig:
    """An existing VPC in which jobs and endpoints run."""

    vpc_id: str
    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        check_match(owner=self, field="vpc_id", pattern=r"vpc-[0-9a-f]{8,17}", allowed="the id of a VPC")
        _check_ids(self, "subnet_ids", "subnet", most=16)
        _check_ids(self, "security_group_ids", "sg", most=5)


def _check_ids(owner: VpcConfig, name: str, prefix: str, *, most: int) -> None:
    ids = getattr(owner, name)
    ok = isinstance(ids, tuple) and 1 <= len(ids) <= most
    ok = ok and all(isinstance(id_, str) and re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", id_) for id_ in ids)
    check(owner=owner, field=name, allowed=f"a tuple of 1 to {most} ids that start with {prefix}-", ok=ok)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Everything that differs between deployments.

    `account` None deploys to whatever account the CLI's credentials name. `existing_roles` maps a kind of ROLE_KINDS
    to the ARN of a role to use instead of making one. With `sandboxes` data scientists may run copies of the inner loop
    of their own (`dual-pipeline sandbox`). `over_budget`: with the budget spent no run starts by itself
    any more, or not after a person agreed, or people are only warned. Data is deleted with the stacks only when
    `delete_data_on_destroy` is True *and* `confirm_delete_data` repeats the environment's name.
    """

    name: str
    region: str
    projects: tuple[ModelProject, ...]
    account: str | None = None
    cost_center: str = "machine-learning"
    notification_email: str | None = None
    monthly_budget_usd: float | None = None
    over_budget: Literal["stop", "ask", "warn"] = "stop"
    vpc: VpcConfig | None = None
    permissions_boundary: str | None = None
    existing_key_arn: str | None = None
    existing_roles: Mapping[str, str] = field(default_factory=dict)
    sandboxes: bool = False
    delete_data_on_destroy: bool = False
    confirm_delete_data: str | None = None

    def __post_init__(self) -> None:
        wanted = "lower-case letters and digits, a letter first, at most 12 characters"
        check_match(owner=self, field="name", pattern=r"[a-z][a-z0-9]{0,11}", allowed=wanted)
        check_choice(owner=self, field="region", choices=REGIONS)
        if self.account is not None:
            check_match(owner=self, field="account", pattern=r"\d{12}", allowed="12 digits in quotes, or None")
        ok = isinstance(self.projects, tuple) and all(isinstance(project, ModelProject) for project in self.projects)
        check(
            owner=self,
            field="projects",
            allowed="a tuple of ModelProject with at least one",
            ok=ok and bool(self.projects),
        )
        check_unique(owner=self, field="projects", names=[project.name for project in self.projects])
        _check_stack_names(self)
        _check_names(self)
        wanted = "1 to 256 letters, digits, spaces and _.:/=+-@"
        check_match(owner=self, field="cost_center", pattern=r"[\w .:/=+@-]{1,256}", allowed=wanted)
        if self.notification_email is not None:
            check_match(
                owner=self, field="notification_email", pattern=r"[^@\s]+@[^@\s]+\.[^@\s]+", allowed="an e-mail address"
            )
        if self.monthly_budget_usd is not None:
            check_number(owner=self, field="monthly_budget_usd", low=1, high=10_000_000)
        check_choice(owner=self, field="over_budget", choices=("stop", "ask", "warn"))
        if self.vpc is not None:
            check_type(owner=self, field="vpc", kind=VpcConfig)
        if self.permissions_boundary is not None:
            wanted = "the name of a managed policy of the account"
            check_match(owner=self, field="permissions_boundary", pattern=r"[\w+=,.@-]{1,128}", allowed=wanted)
        if self.existing_key_arn is not None:
            pattern = rf"arn:aws[a-z-]*:kms:{self.region}:\d{{12}}:key/(mrk-[0-9a-f]{{32}}|[0-9a-f-]{{36}})"
            wanted = f"the ARN of a KMS key in {self.region}"
            check_match(owner=self, field="existing_key_arn", pattern=pattern, allowed=wanted)
        check_mapping(owner=self, field="existing_roles", keys=ROLE_KINDS)
        for arn in self.existing_roles.values():
            wanted = "a mapping to ARNs of IAM roles"
            check(owner=self, field="existing_roles", allowed=wanted, ok=_is_role_arn(arn))
        check_type(owner=self, field="sandboxes", kind=bool)
        if self.delete_data_on_destroy:
            wanted = f"{self.name!r} when delete_data_on_destroy is True"
            check(owner=self, field="confirm_delete_data", allowed=wanted, ok=self.confirm_delete_data == self.name)

    @property
    def deletes_data(self) -> bool:
        """True when destroying the stacks deletes their data, which takes both switches."""
        return self.delete_data_on_destroy and self.confirm_delete_data == self.name


def _check_stack_names(environment: Environment) -> None:
    taken: dict[str, str] = {}
    for project in environment.projects:
        other = taken.setdefault(project.name.replace("-", ""), project.name)
        if other != project.name:
            raise ConfigError(
                "Environment.projects must differ in name by more than hyphens, which the names of their stacks leave"
                f" out, got {other!r} and {project.name!r}: rename one"
            )


def _check_names(environment: Environment) -> None:
    """What two projects make must differ in name, and their roles' permissions go by the begin of names."""
    for project, other in itertools.permutations(environment.projects, 2):
        rest = other.name.removeprefix(f"{project.name}-")
        for name in (*TAKEN, *(workflow.name for workflow in project.workflows)) if rest != other.name else ():
            if f"{rest}-".startswith(f"{name}-") or f"{name}-".startswith(f"{rest}-"):
                raise ConfigError(
                    "Environment.projects must not have a name that meets what another project makes, got"
                    f" {other.name!r}, while {project.name!r} makes {project.name}-{name}: rename one of them"
                )


def _is_role_arn(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(_ROLE_ARN, value) is not None
