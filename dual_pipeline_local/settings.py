"""Where the local AWS lives: work folder, port, account, region and its one root access key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .aws_time import DEFAULT_SCALE

DEFAULT_ACCOUNT = "000000000000"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One running emulator; everything it writes lies under `work`.

    `time_scale` is how many real seconds a second of AWS lasts, see AwsTime.
    """

    work: Path
    port: int
    region: str
    account: str = DEFAULT_ACCOUNT
    time_scale: float = DEFAULT_SCALE

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def access_key_id(self) -> str:
        """The account's root key; it names the account because the CDK CLI caches account ids per access key."""
        return f"LOCALROOT{self.account}"

    @property
    def secret_access_key(self) -> str:
        return "local"

    @property
    def pid_file(self) -> Path:
        return self.work / "emulator.pid"

    @property
    def logs(self) -> Path:
        """Folder of the job logs, one file per job run."""
        return self.work / "logs"

    def client_environment(self) -> dict[str, str]:
        """Environment variables that point any AWS SDK or CLI at this emulator as its root user, and nowhere else."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            **self.endpoint_environment(),
        }

    def endpoint_environment(self) -> dict[str, str]:
        """The part of the client environment that holds no credentials."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # StartSyncExecution would go to sync-127.0.0.1
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


_current: Settings | None = None


def use(settings: Settings) -> None:
    """Make these the settings of this process."""
    global _current
    _current = settings


def current() -> Settings:
    """The settings of the emulator that this process is."""
    if _current is None:
        raise RuntimeError("no emulator runs in this process: call settings.use first")
    return _current
