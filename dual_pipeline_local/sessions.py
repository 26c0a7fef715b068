"""Temporary credentials of roles, as AWS services hold them when they act for a role."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from . import iam, ministack, settings
from .errors import ApiError

_LIFETIME_S = 12 * 3600
_CLIENT = Config(retries={"total_max_attempts": 1}, inject_host_prefix=False, max_pool_connections=50, read_timeout=70)

_lock = threading.RLock()
_credentials: dict[tuple[str, str], dict[str, str]] = {}
_clients: dict[tuple[str, str], Any] = {}


def environment_for_role(role_arn: str, *, service: str) -> dict[str, str]:
    """Credentials and endpoint for a child process that acts as the role.

    Raises ValidationException when the role is missing or its trust policy does not admit the service principal.
    """
    return {**_assume(role_arn, service), **settings.current().endpoint_environment()}


def session_for_role(role_arn: str, *, service: str) -> boto3.Session:
    """A boto3 session that acts as the role against this emulator."""
    return _session(_assume(role_arn, service))


def client(role_arn: str, service_name: str, *, service: str, source_arn: str | None = None) -> Any:
    """A boto3 client of `service_name` that acts as the role, made once; it never retries by itself.

    `source_arn` is the resource the service acts for, which a trust policy may ask about (aws:SourceArn).
    """
    credentials = _assume(role_arn, service, source_arn)
    key = (credentials["AWS_ACCESS_KEY_ID"], service_name)
    with _lock:
        if key not in _clients:
            _clients[key] = _session(credentials).client(
                service_name,  # type: ignore[call-overload]
                endpoint_url=settings.current().endpoint_url,
                config=_CLIENT,
            )
        return _clients[key]


def root_client(service_name: str) -> Any:
    """A boto3 client of the account's root user, made once."""
    here = settings.current()
    key = (here.access_key_id, service_name)
    with _lock:
        if key not in _clients:
            session = boto3.Session(
                aws_access_key_id=here.access_key_id,
                aws_secret_access_key=here.secret_access_key,
                region_name=here.region,
            )
            _clients[key] = session.client(
                service_name,  # type: ignore[call-overload]
                endpoint_url=here.endpoint_url,
                config=_CLIENT,
            )
        return _clients[key]


def _assume(role_arn: str, service: str, source_arn: str | None = None) -> dict[str, str]:
    context = {"aws:SourceArn": source_arn} if source_arn else {}
    if not iam.trusts(role_arn, service, context=context):
        raise ApiError("ValidationException", f"The role {role_arn} does not exist or does not trust {service}")
    sts = ministack.load("services.sts")
    with _lock:
        known = _credentials.get((role_arn, service))
        if known is None or known["AWS_ACCESS_KEY_ID"] not in sts._sessions:
            known = _register(role_arn, service.partition(".")[0])
            _credentials[role_arn, service] = known
        return dict(known)


def _session(credentials: dict[str, str]) -> boto3.Session:
    core = botocore.session.Session()
    core.register_component("data_loader", _loader())
    return boto3.Session(
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=credentials["AWS_SESSION_TOKEN"],
        region_name=settings.current().region,
        botocore_session=core,
    )


def _register(role_arn: str, session_name: str) -> dict[str, str]:
    sts = ministack.load("services.sts")
    account = role_arn.split(":")[4]
    arn = f"arn:aws:sts::{account}:assumed-role/{iam.role_name(role_arn)}/{session_name}"
    key, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30), secrets.token_urlsafe(60)
    sts.register_session(
        key,
        {
            "Arn": arn,
            "UserId": f"{sts._role_id(role_arn)}:{session_name}",
            "AccountId": account,
            "SecretAccessKey": secret,
            "SessionToken": token,
            "PrincipalType": "AssumedRole",
            "Expiration": time.time() + _LIFETIME_S,
        },
    )
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def _loader() -> Any:
    """One loader of service models for all sessions: parsing them is what makes a client slow."""
    global _shared_loader
    with _lock:
        if _shared_loader is None:
            _shared_loader = botocore.session.Session().get_component("data_loader")
        return _shared_loader


_shared_loader: Any = None
