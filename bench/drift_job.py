"""The drift job over a folder in place of S3: `python -m bench.drift_job FOLDER ROWS`."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from bench.drift import END, FILE_ROWS, FILES
from pipeline_code.platform_jobs.drift.__main__ import parser, run
from pipeline_code.platform_jobs.drift.objects import Found, Objects


class Folder(Objects):
    """The files below a folder as the job's objects, `most` in all, each as often as it takes."""

    def __init__(self, folder: Path, *, most: int = 1) -> None:
        self.prefix = ""
        self._folder = folder
        self._most = most

    def below(self, folder: str = "") -> Iterator[Found]:
        """As many files as are wanted."""
        files = sorted(path for path in (self._folder / folder).rglob("*") if path.is_file())
        for number in range(self._most if files else 0):
            key = files[number % len(files)].relative_to(self._folder).as_posix()
            yield Found(key, END - timedelta(minutes=1))

    def chunks(self, key: str) -> Iterator[bytes]:
        """A file in pieces of a megabyte."""
        with (self._folder / key).open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk


def main() -> None:
    """Measure so many rows."""
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    settings = {
        "input-evaluation": folder / "evaluation",
        "output-report": folder / "report",
        "output-message": folder / "message",
        "report-uri": "report/",
        "capture-uri": "capture/",
        "labels-uri": "labels/",
        "model": "model",
        "released-at": "2026-01-01T00:00:00Z",
        "end": f"{END:%Y-%m-%dT%H:%M:%SZ}",
        "window-s": 86_400,
        "label-window-s": 86_400,
        "min-rows": FILE_ROWS,
        "min-labels": FILES,
        "alpha": 0.01,
        "max-psi": 0.2,
        "max-auc-drop": 0.05,
    }
    options = parser().parse_args([word for name, value in settings.items() for word in (f"--{name}", str(value))])
    run(options, Folder(folder / "capture", most=rows // FILE_ROWS), Folder(folder / "labels"))


if __name__ == "__main__":
    main()
