"""Who holds a managed policy of a stack: IAM deletes no policy, and no role, that the other is attached to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from dual_pipeline_local.deployment import Clients

from .absence import is_absent
from .runtime_resources import RuntimeResource
from .stacks import Resource

_HOLDERS = (("Role", "PolicyRoles"), ("User", "PolicyUsers"), ("Group", "PolicyGroups"))


def attachments(
    aws: Clients, resources: Sequence[Resource], *, shared: Iterable[Resource] = ()
) -> Iterator[RuntimeResource]:
    """Each attachment of a policy of these stacks: to people by an administrator, to roles by the budget's action.

    Policies of `shared` stay, so these are taken only from roles that go.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html and API_DeleteRole.html
    """
    iam = aws.client("iam")
    roles = {each.id for each in resources if each.type == "AWS::IAM::Role"}
    policies = (each for each in [*resources, *shared] if each.type == "AWS::IAM::ManagedPolicy")
    for policy in dict.fromkeys(policies):
        for page in _pages(iam, policy):
            for kind, listed in _HOLDERS:
                for holder in page.get(listed, []):
                    name = holder[f"{kind}Name"]
                    if policy not in resources and not (kind == "Role" and name in roles):
                        continue
                    detach = getattr(iam, f"detach_{kind.lower()}_policy")
                    yield RuntimeResource(
                        kind="attached policy",
                        name=f"{policy.id.rpartition('/')[2]} of {kind.lower()} {name}",
                        remove=partial(detach, **{f"{kind}Name": name, "PolicyArn": policy.id}),
                    )


def _pages(iam: Any, policy: Resource) -> Iterator[Mapping[str, Any]]:
    try:
        yield from iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=policy.id)
    except ClientError as error:
        if not is_absent(error):
            raise
