"""The SageMaker images that jobs run in; their registries differ by region (images.json, written by `make compile`).

Source: https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html
"""

import json
from pathlib import Path
from typing import Final

from dual_pipeline.errors import ConfigError

IMAGES_FILE: Final = Path(__file__).with_name("images.json")

VERSIONS: Final = {"xgboost": "3.2-0", "sklearn": "1.4-2", "spark": "3.5"}


def image_uri(framework: str, *, region: str) -> str:
    """The URI of a framework's image in a region; raises ConfigError when there is none."""
    table: dict[str, dict[str, str]] = json.loads(IMAGES_FILE.read_text(encoding="utf-8"))
    if framework not in table:
        raise ConfigError(f"no image is known for framework {framework!r}; known are {sorted(table)}")
    if region not in table[framework]:
        raise ConfigError(
            f"SageMaker offers no {framework} image in {region!r}; choose one of {sorted(table[framework])}"
        )
    return table[framework][region]
