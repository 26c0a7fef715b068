"""The libraries that SageMaker's images ship, and an interpreter with exactly these for tests to run step code in.

Python itself is this repository's 3.11; that the code parses on the images' own versions is vermin's part.
"""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Image:
    """What an image ships of what is not the standard library, as far as step code may import it."""

    python: str
    distributions: tuple[str, ...]
    packages: frozenset[str]


IMAGES = {
    # https://github.com/aws/deep-learning-containers/blob/main/docker/xgboost/pyproject.toml
    "xgboost": Image(
        python="3.12",
        distributions=(
            "matplotlib==3.10.9",
            "numpy==2.1.0",
            "pandas==2.2.3",
            "pyarrow==22.0.0",
            "scikit-learn==1.8.0",
            "scipy==1.15.0",
            "xgboost==3.2.0" if sys.platform == "darwin" else "xgboost-cpu==3.2.0",
        ),
        packages=frozenset({"matplotlib", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "xgboost"}),
    ),
    # https://github.com/aws/sagemaker-scikit-learn-container/blob/master/docker/1.4-2/base/Dockerfile.cpu
    "sklearn": Image(
        python="3.10",
        distributions=("numpy==2.1.0", "pyarrow==17.0.0", "scikit-learn==1.4.2"),
        packages=frozenset({"numpy", "pyarrow", "sklearn"}),
    ),
    # https://github.com/aws/sagemaker-spark-container/blob/master/spark/processing/3.5/py3/docker/py312/Dockerfile.cpu
    "spark": Image(python="3.12", distributions=("pyspark==3.5.6",), packages=frozenset({"pyspark"})),
}


def interpreter(image: str) -> Path:
    """A python with the libraries of an image and no others, made once and kept in build/containers."""
    distributions = IMAGES[image].distributions
    digest = hashlib.sha256(" ".join((sys.version, *distributions)).encode()).hexdigest()[:12]
    folder = ROOT / "build" / "containers" / f"{image}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install"]
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
        subprocess.run([*pip, "--quiet", "--only-binary", ":all:", *distributions], check=True)
        (folder / "installed").touch()
    return python


def run_step(image: str, bundle: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run a step's bundle as its image would and return what it printed; fails with that text when the step does."""
    done = subprocess.run(
        [str(interpreter(image)), str(bundle), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "OMP_WAIT_POLICY": "PASSIVE", **(environment or {})},
    )
    assert done.returncode == 0, (
        f"{bundle.name} failed in the {image} image:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    )
    return done.stdout
