"""What the sandbox of a stack and the command line that uses it must spell alike."""

from datetime import timedelta
from typing import Final

FOLDER: Final = "sandbox"
MAX_LIFE: Final = timedelta(days=30)
TAG_EXPIRES: Final = "dual-pipeline:expires"


def copy_name(pipeline: str, owner: str) -> str:
    """The name of `owner`'s copy of a pipeline; no project's name holds two hyphens in a row, so it is no project's."""
    return f"{pipeline}--{owner}"


def output_name(name: str) -> str:
    """The stack output that holds a value for copies: `kms_key_arn` -> `SandboxKmsKeyArn`."""
    return "Sandbox" + "".join(word.capitalize() for word in name.split("_"))
