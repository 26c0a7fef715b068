"""The command `smspark-submit` of SageMaker's Spark image: its options, passed on to spark-submit.

Needs nothing but the standard library; SPARK_HOME says where Spark is, SPARK_PROPERTIES_FILE how it is set up.

Source: https://github.com/aws/sagemaker-spark-container (src/smspark/cli.py).
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

PROPERTIES_FILE = "SPARK_PROPERTIES_FILE"
_CONFIGURATION = "processing/input/conf/configuration.json"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.exit(f"smspark-submit: {message}")


def _files(text: str) -> str:
    """A comma-separated list of files, each folder in it replaced by the files it holds."""
    found: list[str] = []
    for name in text.split(","):
        path = Path(name)
        if not path.is_absolute():
            raise argparse.ArgumentTypeError(f"file path {path} must be an absolute path to a file or directory")
        if not path.exists():
            raise argparse.ArgumentTypeError(f"file path {path} does not exist")
        inside = sorted(str(file) for file in path.iterdir() if file.is_file()) if path.is_dir() else [str(path)]
        if not inside:
            raise argparse.ArgumentTypeError(f"found zero files in {path}")
        found += inside
    return ",".join(found)


def command(arguments: list[str]) -> list[str]:
    """The spark-submit command for the arguments of smspark-submit; exits with a sentence on what the image lacks."""
    parser = _Parser(prog="smspark-submit", add_help=False, allow_abbrev=False)
    for name in ("--class", "--local-spark-event-logs-dir", "--spark-event-logs-s3-uri"):
        parser.add_argument(name)
    for name in ("--jars", "--py-files", "--files"):
        parser.add_argument(name, type=_files)
    parser.add_argument("-v", "--verbose", action="store_true")
    # all that follows the application belongs to it, options too
    parser.add_argument("application", nargs=argparse.REMAINDER)
    given = vars(parser.parse_args(arguments))
    application = given.pop("application")
    if not application:
        parser.error("missing parameter: app")
    if application[0].startswith("-"):
        parser.error(f"no such option: {application[0].partition('=')[0]}")
    if given.pop("spark_event_logs_s3_uri"):
        parser.error("--spark-event-logs-s3-uri is not modelled by the local emulator, see docs/emulator.md")
    words = [f"{os.environ['SPARK_HOME']}/bin/spark-submit", "--properties-file", os.environ[PROPERTIES_FILE]]
    if given.pop("verbose"):
        words.append("--verbose")
    events = given.pop("local_spark_event_logs_dir")
    if events:
        Path(events).mkdir(parents=True, exist_ok=True)
        words += ["--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file://{events}"]
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", value] if value else []
    return [*words, *application]


def main() -> None:
    """Become spark-submit."""
    words = command(sys.argv[1:])
    if Path(_CONFIGURATION).exists():
        sys.exit("smspark-submit: configuration.json is not modelled by the local emulator, see docs/emulator.md")
    os.execv(words[0], words)  # noqa: S606


if __name__ == "__main__":
    main()
