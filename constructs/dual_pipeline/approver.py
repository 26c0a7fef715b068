"""Who a person is, for counting approvals: what SageMaker tells of the caller, without what the caller may choose.

A session name is chosen by whoever assumes a role, so it names a person only where an identity provider sets it: IAM
Identity Center does, for its roles AWSReservedSSO_... . A source identity cannot be changed once set, and a Studio
profile belongs to one person. Any other role counts as one person, however many assume it.

Sources: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UserContext.html,
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html,
https://docs.aws.amazon.com/singlesignon/latest/userguide/cloudtrail-userID.html
"""

from collections.abc import Mapping
from typing import Any

_SSO = ":assumed-role/AWSReservedSSO_"
_ROLE = ":assumed-role/"


def person(context: Mapping[str, Any]) -> str:
    """The person of a UserContext; empty when it names nobody."""
    identity = context.get("IamIdentity") or {}
    arn = str(identity.get("Arn") or "")
    if source := identity.get("SourceIdentity"):
        return f"source identity {source}"
    if profile := context.get("UserProfileName"):
        return f"Studio profile {context.get('DomainId') or ''}/{profile}"
    if _SSO in arn:
        return "Identity Center user " + arn.split("/")[-1]
    return "/".join(arn.split("/")[:2]) if _ROLE in arn else arn


def person_of(context: str) -> str:
    """JSONata for what `person` answers, over the UserContext that an expression gives."""
    return f"""(
  $u := {context};
  $arn := $u.IamIdentity.Arn & '';
  $parts := $split($arn, '/');
  $u.IamIdentity.SourceIdentity & '' != '' ? 'source identity ' & $u.IamIdentity.SourceIdentity
  : $u.UserProfileName & '' != '' ? 'Studio profile ' & $u.DomainId & '/' & $u.UserProfileName
  : $contains($arn, '{_SSO}') ? 'Identity Center user ' & $parts[-1]
  : $contains($arn, '{_ROLE}') ? $parts[0] & '/' & $parts[1]
  : $arn
)"""
