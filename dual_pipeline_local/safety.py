"""Keeps a local run away from real AWS: no credential of the user's is read, no request leaves this machine."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from dual_pipeline.errors import DualPipelineError

from .settings import Settings

_NOWHERE = "http://127.0.0.1:9"  # the discard port: whatever asks a proxy for the way out is refused on this machine
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
# In the form of botocore's own table of variables: no key in the profile, no environment variable, a default.
_NOTHING_OF_THE_SHELL: dict[str, Any] = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class UnsafeEndpoint(DualPipelineError):
    """A local run was pointed at something that is not this machine."""


def isolate(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """Remove every AWS setting from the environment, close the ways around it, and name what was removed.

    Child processes inherit it: profiles, keys, config files, instance metadata and proxies are out of reach for all.
    """
    removed = sorted(name for name in environ if name.startswith(("AWS_", "BOTO_", "CDK_DEFAULT_")))
    for name in removed:
        del environ[name]
    environ.update(
        {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
    )
    for name in _PROXIES:
        environ[name] = environ[name.lower()] = _NOWHERE
    environ["NO_PROXY"] = environ["no_proxy"] = "127.0.0.1,localhost"
    return removed


def require_loopback(url: str) -> str:
    """The URL itself, if its host is this machine.

    Raises UnsafeEndpoint for any other host, a name that merely resolves to this machine included.
    """
    host = urlsplit(url).hostname or ""
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UnsafeEndpoint(f"refused to talk to {url}: a local run only talks to 127.0.0.1")
    return url


class LocalAws:
    """boto3 clients of one emulator as its root user, or whose `key` is given, whatever the shell names.

    A request to any other host is refused before it is sent.
    """

    def __init__(self, settings: Settings, *, key: tuple[str, str] | None = None) -> None:
        self.settings = settings
        key_id, secret = key or (settings.access_key_id, settings.secret_access_key)
        self._url = require_loopback(settings.endpoint_url)
        self._session = boto3.Session(
            botocore_session=botocore.session.Session(session_vars=_NOTHING_OF_THE_SHELL),
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            region_name=settings.region,
        )
        self._session.events.register("before-send", _refuse_other_hosts)
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The client of a service, made once."""
        if service not in self._clients:
            config = Config(
                retries={"total_max_attempts": 2},
                proxies={},
                s3={"addressing_style": "path"},
                use_fips_endpoint=False,
                use_dualstack_endpoint=False,
            )
            # typed overloads exist per literal service name only
            make: Any = self._session.client
            self._clients[service] = make(service, endpoint_url=self._url, config=config)
        return self._clients[service]


def _refuse_other_hosts(request: Any, **_: object) -> None:
    require_loopback(request.url)
