"""How a mistake in the configuration is told at synth: in one line that names the place, without a traceback."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dual_pipeline.errors import DualPipelineError

# Where the platform's own code lies; all else below the root is written by those who use it.
_OURS = ("constructs", "stacks", ".venv", "app.py")


@contextmanager
def telling_mistakes(*, root: Path) -> Iterator[None]:
    """End the process with one line for a mistake of those who edit files below `root`.

    That is every DualPipelineError, and whatever a line of theirs raises itself, such as a misspelt argument. Any
    other error is ours and keeps its traceback.
    """
    try:
        yield
    except Exception as error:
        if (told := _told(error, root.resolve())) is None:
            raise
        raise SystemExit(f"error: {told}") from None


def _told(error: Exception, root: Path) -> str | None:
    # What a dataclass makes lies in no file.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    theirs = [frame for frame in frames if _is_theirs(Path(frame.filename), root)]
    where = f"{Path(theirs[-1].filename).relative_to(root)}:{theirs[-1].lineno}: " if theirs else ""
    if isinstance(error, DualPipelineError):
        return f"{where}{error}"
    return f"{where}{type(error).__name__}: {error}" if theirs and frames[-1] == theirs[-1] else None


def _is_theirs(file: Path, root: Path) -> bool:
    return file.is_relative_to(root) and file.relative_to(root).parts[0] not in _OURS
