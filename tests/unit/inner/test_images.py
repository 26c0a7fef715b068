"""The committed table of images."""

import pytest

from dual_pipeline.errors import ConfigError
from dual_pipeline.images import image_uri


def test_an_image_is_found_by_region() -> None:
    """The account of the registry belongs to the region."""
    expected = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0"
    assert expected == image_uri("xgboost", region="eu-west-1")


def test_china_has_its_own_domain() -> None:
    """Registries in China do not lie under amazonaws.com."""
    expected = "450853457545.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-scikit-learn:1.4-2-cpu-py3"
    assert expected == image_uri("sklearn", region="cn-north-1")


def test_a_region_without_image_is_refused() -> None:
    """The error names the regions that have one."""
    with pytest.raises(ConfigError, match=r"no xgboost image in 'mars-1'; choose one of .*eu-west-1"):
        image_uri("xgboost", region="mars-1")


def test_an_unknown_framework_is_refused() -> None:
    """The error names what is known."""
    with pytest.raises(ConfigError, match=r"framework 'torch'; known are \['sklearn', 'spark', 'xgboost'\]"):
        image_uri("torch", region="eu-west-1")
