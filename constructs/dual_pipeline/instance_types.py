"""The instance types of SageMaker jobs and endpoints: what a class offers, and what it has inside.

instance_types.json is written by `make compile` from botocore's model of the API, so it grows with the SDK.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from dual_pipeline.validation import check

INSTANCE_TYPES_FILE: Final = Path(__file__).with_name("instance_types.json")

Use: TypeAlias = Literal["processing", "training", "transform", "endpoint"]

# botocore's name of the enum of each use.
SHAPES: Final[Mapping[Use, str]] = {
    "processing": "ProcessingInstanceType",
    "training": "TrainingInstanceType",
    "transform": "TransformInstanceType",
    "endpoint": "ProductionVariantInstanceType",
}

# Local disks are encrypted by their hardware, and a VolumeKmsKeyId is refused:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html
# Which classes have them: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/InstanceStorage.html
_LOCAL_DISKS: Final = frozenset(
    """
    c5d c6gd dl1 g4dn g5 g6 g6e g7 g7e m5d m6gd p3dn p4d p4de p5 p5e p5en p6-b200 p6-b300 p6e-gb200 r5d r6gd r7gd
    trn1 trn1n trn2
    """.split()
)
# https://docs.aws.amazon.com/sagemaker/latest/dg/instance-types-az.html and
# https://aws.amazon.com/ec2/instance-types/#Accelerated_Computing: NVIDIA's; p6e-gb200 has Arm processors
_GPUS: Final = frozenset("g4dn g5 g6 g6e g7 g7e p2 p3 p3dn p4d p4de p5 p5e p5en p6-b200 p6-b300".split())
_VIRTUAL_CPUS: Final[Mapping[str, int]] = {"ml.c4.8xlarge": 36, "ml.t2.medium": 2}


def instance_class(instance_type: str) -> str:
    """The class of an instance type: `ml.m5.large` -> `ml.m5`."""
    return instance_type.rpartition(".")[0]


def is_offered(instance_type: str, *, use: Use) -> bool:
    """Whether SageMaker runs such jobs or endpoints on an instance type."""
    return instance_type in _table()[use]


def same_class(instance_type: str, *, use: Use) -> list[str]:
    """The instance types of one class, smallest first."""
    wanted = instance_class(instance_type)
    return sorted((each for each in _table()[use] if instance_class(each) == wanted), key=_size)


def takes_volume_key(instance_type: str) -> bool:
    """Whether a job there may name the KMS key of its volume."""
    return instance_class(instance_type).removeprefix("ml.") not in _LOCAL_DISKS


def virtual_cpus(instance_type: str) -> int:
    """How many virtual processors an instance type has: four to each xlarge, with the exceptions of older classes.

    Source: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-types.html
    """
    size = instance_type.rpartition(".")[2]
    if instance_type in _VIRTUAL_CPUS:
        return _VIRTUAL_CPUS[instance_type]
    if size.endswith("xlarge"):
        return 4 * int(size.removesuffix("xlarge") or 1)
    return 1 if size == "medium" else 2


def has_gpu(instance_type: str) -> bool:
    """Whether an instance type has a GPU that XGBoost's `device=cuda` can use."""
    return instance_class(instance_type).removeprefix("ml.") in _GPUS


@functools.cache
def _table() -> Mapping[str, list[str]]:
    table: Mapping[str, list[str]] = json.loads(INSTANCE_TYPES_FILE.read_text(encoding="utf-8"))
    return table


def _size(instance_type: str) -> tuple[int, int]:
    """Orders nano, micro, ... xlarge, 2xlarge, ... metal."""
    size = instance_type.rpartition(".")[2]
    if size.endswith("xlarge"):
        return 5, int(size.removesuffix("xlarge") or 1)
    return (["nano", "micro", "small", "medium", "large", "xlarge", "metal"].index(size), 0)


def check_instance(owner: object, name: str, use: Use) -> None:
    """Hold the field `name` of `owner` to the instance types that SageMaker offers for `use`; raises ConfigError."""
    instance_type = getattr(owner, name)
    ok = isinstance(instance_type, str) and is_offered(instance_type, use=use)
    allowed = f"an instance type that SageMaker offers for {use}, such as ml.m5.large"
    check(owner=owner, field=name, allowed=allowed, ok=ok)
