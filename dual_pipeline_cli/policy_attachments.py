"""Who holds a managed policy of a stack: IAM deletes no policy, and no role, that the other is attached to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from dual_pipeline_local.deployment import Clients

from .runtime_resources import RuntimeResource
from .stacks import Resource

_HOLDERS = (("Role", "PolicyRoles"), ("User", "PolicyUsers"), ("Group", "PolicyGroups"))


def attachments(aws: Clients, resources: Iterable[Resource]) -> Iterator[RuntimeResource]:
    """Each attachment of a policy of these stacks: to people by an administrator, to roles by the budget's action.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html
    """
    iam = aws.client("iam")
    for policy in (each for each in resources if each.type == "AWS::IAM::ManagedPolicy"):
        for page in iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=policy.id):
            for kind, listed in _HOLDERS:
                for holder in page.get(listed, []):
                    name = holder[f"{kind}Name"]
                    detach = getattr(iam, f"detach_{kind.lower()}_policy")
                    yield RuntimeResource(
                        kind="attached policy",
                        name=f"{policy.id.rpartition('/')[2]} of {kind.lower()} {name}",
                        remove=partial(detach, **{f"{kind}Name": name, "PolicyArn": policy.id}),
                    )
