"""The command `smspark-submit` of SageMaker's Spark image: its options, passed on to spark-submit.

Needs nothing but the standard library; SPARK_HOME says where Spark is, SPARK_PROPERTIES_FILE how it is set up.

Source: https://github.com/aws/sagemaker-spark-container (src/smspark/cli.py).
"""

import os
import sys
from pathlib import Path

PROPERTIES_FILE = "SPARK_PROPERTIES_FILE"
_CONFIGURATION = "processing/input/conf/configuration.json"
_EVENTS, _EVENTS_IN_S3 = "--local-spark-event-logs-dir", "--spark-event-logs-s3-uri"
_FILES = ("--jars", "--py-files", "--files")
_VALUED = ("--class", *_FILES, _EVENTS, _EVENTS_IN_S3)
_VERBOSE = ("-v", "--verbose")


class Refused(Exception):
    """What the image's smspark-submit does not take, in a sentence."""


def command(arguments: list[str]) -> list[str]:
    """The spark-submit command for the arguments of smspark-submit; raises Refused."""
    words = [f"{os.environ['SPARK_HOME']}/bin/spark-submit", "--properties-file", os.environ[PROPERTIES_FILE]]
    rest = list(arguments)
    # all that follows the application belongs to it, options too
    while rest and rest[0].startswith("-"):
        option, is_joined, joined = rest.pop(0).partition("=")
        if option in _VERBOSE and not is_joined:
            words.append("--verbose")
        elif option not in _VALUED:
            raise Refused(f"no such option: {option}")
        elif not is_joined and not rest:
            raise Refused(f"option {option} requires a value")
        else:
            words += _spark_options(option, joined if is_joined else rest.pop(0))
    if not rest:
        raise Refused("missing parameter: app")
    return words + rest


def _spark_options(option: str, value: str) -> list[str]:
    if option == _EVENTS_IN_S3:
        raise Refused(f"{option} is not modelled by the local emulator, see docs/emulator.md")
    if option == _EVENTS:
        Path(value).mkdir(parents=True, exist_ok=True)
        return ["--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file://{value}"]
    return [option, _files(value) if option in _FILES else value]


def _files(text: str) -> str:
    """A comma-separated list of files, each folder in it replaced by the files it holds."""
    found: list[str] = []
    for name in text.split(","):
        path = Path(name)
        if not path.is_absolute():
            raise Refused(f"file path {path} must be an absolute path to a file or directory")
        if not path.exists():
            raise Refused(f"file path {path} does not exist")
        inside = sorted(str(file) for file in path.iterdir() if file.is_file()) if path.is_dir() else [str(path)]
        if not inside:
            raise Refused(f"found zero files in {path}")
        found += inside
    return ",".join(found)


def main() -> None:
    """Become spark-submit."""
    try:
        words = command(sys.argv[1:])
    except Refused as error:
        sys.exit(f"smspark-submit: {error}")
    if Path(_CONFIGURATION).exists():
        sys.exit("smspark-submit: configuration.json is not modelled by the local emulator, see docs/emulator.md")
    os.execv(words[0], words)  # noqa: S606


if __name__ == "__main__":
    main()
