"""A local run has no way to reach real AWS."""

import os
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from dual_pipeline_local.safety import LocalAws, UnsafeEndpoint, isolate, require_loopback
from dual_pipeline_local.settings import Settings


def test_isolate_removes_every_aws_setting() -> None:
    """Keys, profiles, endpoints and CDK's defaults are gone, and the caller learns their names."""
    environ = {
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL_S3": "https://s3.example.com",
        "CDK_DEFAULT_ACCOUNT": "123456789012",
        "PATH": "/bin",
    }
    removed = isolate(environ)
    assert ["AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "CDK_DEFAULT_ACCOUNT"] == removed
    assert {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"} == {
        name for name in environ if name.startswith("AWS_")
    }
    assert os.devnull == environ["AWS_CONFIG_FILE"] == environ["AWS_SHARED_CREDENTIALS_FILE"]
    assert "/bin" == environ["PATH"]


def test_isolate_closes_the_way_out() -> None:
    """Proxies of the user's are replaced by a closed door; loopback goes without one."""
    environ = {"HTTPS_PROXY": "http://proxy.example.com:3128", "https_proxy": "http://proxy.example.com:3128"}
    isolate(environ)
    assert {"http://127.0.0.1:9"} == {environ[name] for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")}
    assert "127.0.0.1,localhost" == environ["NO_PROXY"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:4566", "http://localhost:1", "http://[::1]:80"])
def test_loopback_is_let_through(url: str) -> None:
    """This machine's own addresses pass."""
    assert url == require_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://sts.amazonaws.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://10.0.0.1",
        "http://169.254.169.254/latest",
        "http://127.0.0.1@example.com",
        "",
    ],
)
def test_other_hosts_are_refused(url: str) -> None:
    """Anything else is refused by name, look-alikes included."""
    with pytest.raises(UnsafeEndpoint, match=r"a local run only talks to 127\.0\.0\.1"):
        require_loopback(url)


def test_clients_cannot_be_pointed_elsewhere() -> None:
    """A request that would leave the machine is refused before it is sent, even by a client built for it."""
    aws = LocalAws(Settings(work=Path("unused"), port=1, region="eu-west-1"))
    client = aws._session.client("sts", endpoint_url="https://sts.eu-west-1.amazonaws.com")
    with pytest.raises(UnsafeEndpoint, match=r"sts\.eu-west-1\.amazonaws\.com"):
        client.get_caller_identity()


def test_clients_ask_nothing_of_the_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile that does not exist, broken configuration files and FIPS endpoints change nothing."""
    broken = tmp_path / "broken"
    broken.write_text("[[[")
    for name, value in {
        "AWS_PROFILE": "production",
        "AWS_CONFIG_FILE": str(broken),
        "AWS_SHARED_CREDENTIALS_FILE": str(broken),
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_ENDPOINT_URL": "https://example.com",
    }.items():
        monkeypatch.setenv(name, value)
    aws = LocalAws(Settings(work=Path("unused"), port=1, region="eu-west-1"))
    with pytest.raises(EndpointConnectionError, match=r"http://127\.0\.0\.1:1/"):
        aws.client("s3").list_buckets()
