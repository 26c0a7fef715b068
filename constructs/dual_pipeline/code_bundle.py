"""Step code as archives that are byte-identical whoever packs them: an unchanged step keeps its hash and its cache.

Nothing is compressed, for zlib builds differ in their output and the bytes decide the hash. Modification times, owners
and modes are fixed for the same reason.
"""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from dual_pipeline.definition import StepKind

_EPOCH = (1980, 1, 1, 0, 0, 0)
_STORED_BLOCK = 0xFFFF
# Modules of a project that no step imports; the others are shared by all of its steps.
_NOT_SHARED = frozenset({"pipeline.py", "project.py", "rules.py", "inference.py"})


def write_bundle(project_folder: Path, *, step: str, kind: StepKind, folder: Path) -> Path:
    """Write the code of a step as its kind of job wants it, and return the file's path.

    Raises FileNotFoundError naming the file that the project lacks.
    """
    return _WRITERS[kind](project_folder, step=step, folder=folder)


def write_processing_bundle(project_folder: Path, *, step: str, folder: Path) -> Path:
    """Write `<folder>/<step>.zip`, which `python3 <step>.zip ARGS` runs, and return its path.

    It holds the step's folder and the modules that the project's steps share, under their package names.
    """
    return _write(folder / f"{step}.zip", _zip(_runnable(project_folder, step=step)))


def write_spark_bundle(project_folder: Path, *, step: str, folder: Path) -> Path:
    """Write `<folder>/<step>.py`, which `smspark-submit <step>.py ARGS` runs, and return its path.

    It is the zip of a processing step: Python runs a zip whatever its name, spark-submit takes `.py` alone
    (https://spark.apache.org/docs/3.5.6/submitting-applications.html).
    """
    return _write(folder / f"{step}.py", _zip(_runnable(project_folder, step=step)))


def write_training_bundle(project_folder: Path, *, step: str = "train", folder: Path) -> Path:
    """Write `<folder>/<step>.tar.gz` for script mode: `sagemaker_program` is `<step>.py` at its root.

    Beside the step it holds the project's `inference.py`, which the step packs into the model.
    """
    return _write(folder / f"{step}.tar.gz", _gzip(_tar(_trained_by(project_folder, step=step))))


def write_alone_bundle(project_folder: Path, *, step: str, folder: Path) -> Path:
    """Write `<folder>/<step>.tar.gz`: a training bundle whose step may run the code of every other step folder."""
    files = _trained_by(project_folder, step=step)
    for main in project_folder.glob("*/__main__.py"):
        files |= _tree(main.parent, root=project_folder.parent.parent)
    return _write(folder / f"{step}.tar.gz", _gzip(_tar(files)))


def write_function_bundle(project_folder: Path, *, step: str, folder: Path) -> Path:
    """Write `<folder>/<step>.zip` for Lambda, whose handler is `handler.handler`, and return its path."""
    _read(project_folder / step / "handler.py")
    return _write(folder / f"{step}.zip", _zip(_tree(project_folder / step, root=project_folder / step)))


def write_platform_bundle(package_folder: Path, *, job: str, folder: Path) -> Path:
    """Write `<folder>/<job>.zip`, which `python3 <job>.zip ARGS` runs: a folder of `<package>/platform_jobs` alone."""
    jobs = package_folder / "platform_jobs"
    files = _tree(jobs / job, root=package_folder.parent)
    for name in (package_folder / "__init__.py", jobs / "__init__.py"):
        files[name.relative_to(package_folder.parent).as_posix()] = _read(name)
    return _write(folder / f"{job}.zip", _zip(files | {"__main__.py": _entry(jobs, step=job)}))


def write_glue_library(package_folder: Path, *, folder: Path) -> Path:
    """Write `<folder>/glue_library.zip` for `--extra-py-files`: `<package>/platform_jobs` under its package name."""
    files = _tree(package_folder / "platform_jobs", root=package_folder.parent)
    files[f"{package_folder.name}/__init__.py"] = _read(package_folder / "__init__.py")
    return _write(folder / "glue_library.zip", _zip(files))


def _runnable(project_folder: Path, *, step: str) -> dict[str, bytes]:
    return _step_files(project_folder, step=step) | {"__main__.py": _entry(project_folder, step=step)}


def _trained_by(project_folder: Path, *, step: str) -> dict[str, bytes]:
    return _step_files(project_folder, step=step) | {
        f"{step}.py": _entry(project_folder, step=step),
        **_named(project_folder, "inference.py"),
    }


def _step_files(project_folder: Path, *, step: str) -> dict[str, bytes]:
    package = project_folder.parent
    main = project_folder / step / "__main__.py"
    if not main.is_file():
        raise FileNotFoundError(f"step {step!r} of project {project_folder.name!r} has no {main}")
    shared = sorted(path.name for path in project_folder.glob("*.py") if path.name not in _NOT_SHARED)
    return {
        f"{package.name}/__init__.py": _read(package / "__init__.py"),
        **_named(project_folder, *sorted({"__init__.py", "contract.py", *shared})),
        **_tree(project_folder / step, root=package.parent),
    }


def _named(project_folder: Path, *names: str) -> dict[str, bytes]:
    prefix = f"{project_folder.parent.name}/{project_folder.name}"
    return {f"{prefix}/{name}": _read(project_folder / name) for name in names}


def _tree(folder: Path, *, root: Path) -> dict[str, bytes]:
    files = {path.relative_to(root): path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in files.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"a code bundle needs {path}, which does not exist")
    return path.read_bytes()


def _entry(project_folder: Path, *, step: str) -> bytes:
    module = f"{project_folder.parent.name}.{project_folder.name}.{step}.__main__"
    return f"import sys\n\nfrom {module} import main\n\nsys.exit(main())\n".encode()


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, files[name])
    return buffer.getvalue()


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(files[name]))
    return buffer.getvalue()


def _gzip(content: bytes) -> bytes:
    """Gzip with stored blocks (RFC 1951, 3.2.4), so that no zlib takes part."""
    blocks = [content[at : at + _STORED_BLOCK] for at in range(0, len(content), _STORED_BLOCK)]
    body = b"".join(
        struct.pack("<BHH", at == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for at, block in enumerate(blocks)
    )
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + body + struct.pack("<II", zlib.crc32(content), len(content))


_WRITERS: Mapping[StepKind, Callable[..., Path]] = {
    "processing": write_processing_bundle,
    "spark": write_spark_bundle,
    "training": write_training_bundle,
    "function": write_function_bundle,
}
