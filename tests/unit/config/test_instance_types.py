"""What is known about instance types agrees with SageMaker's own model."""

import pytest

from dual_pipeline.instance_types import (
    SHAPES,
    Use,
    has_gpu,
    instance_class,
    is_offered,
    same_class,
    takes_volume_key,
    virtual_cpus,
)
from pipeline_code.request_check import enumeration


@pytest.mark.parametrize("use", SHAPES)
def test_every_type_of_every_use_is_known(use: Use) -> None:
    """The table is botocore's, each class can be sorted by size and holds its own members."""
    for instance_type in enumeration(SHAPES[use]):
        assert is_offered(instance_type, use=use)
        assert instance_type in same_class(instance_type, use=use)


def test_sizes_are_in_order() -> None:
    """2xlarge comes before 12xlarge."""
    sizes = [each.rpartition(".")[2] for each in same_class("ml.m5.xlarge", use="training")]
    assert ["large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge"] == sizes


@pytest.mark.parametrize(
    ("instance_type", "key", "gpu"),
    [
        ("ml.m5.large", True, False),
        ("ml.m5d.large", False, False),
        ("ml.c5d.xlarge", False, False),
        ("ml.g4dn.xlarge", False, True),
        ("ml.g5.xlarge", False, True),
        ("ml.p3.2xlarge", True, True),
        ("ml.p4d.24xlarge", False, True),
        ("ml.trn1.2xlarge", False, False),
    ],
)
def test_disks_and_gpus_follow_from_the_class(instance_type: str, key: bool, gpu: bool) -> None:
    """Local disks take no volume key; only NVIDIA's GPUs run XGBoost's cuda."""
    assert (key, gpu) == (takes_volume_key(instance_type), has_gpu(instance_type))


def test_the_class_is_what_stands_before_the_size() -> None:
    """The size is the last word."""
    assert "ml.p6-b200" == instance_class("ml.p6-b200.48xlarge")


@pytest.mark.parametrize(
    ("instance_type", "cpus"),
    [
        ("ml.m5.large", 2),
        ("ml.m5.xlarge", 4),
        ("ml.c5.9xlarge", 36),
        ("ml.c4.8xlarge", 36),
        ("ml.t2.medium", 2),
        ("ml.m8g.medium", 1),
        ("ml.p5.48xlarge", 192),
    ],
)
def test_processors_follow_from_the_size(instance_type: str, cpus: int) -> None:
    """Four to each xlarge, but for what older classes have."""
    assert cpus == virtual_cpus(instance_type)
