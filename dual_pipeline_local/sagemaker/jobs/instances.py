"""What SageMaker refuses about a job's instances."""

from dual_pipeline.instance_types import takes_volume_key
from dual_pipeline_local.sagemaker.api import Record, invalid


def check_volume_key(resources: Record) -> None:
    """Refuse a VolumeKmsKeyId where the volume is a local disk, whose hardware encrypts it.

    Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html; AWS's text is not known.
    """
    instance_type = str(resources.get("InstanceType", ""))
    if resources.get("VolumeKmsKeyId") and not takes_volume_key(instance_type):
        raise invalid(
            f"VolumeKmsKeyId can not be requested for instance type {instance_type}, which has local storage that its "
            "hardware encrypts; leave VolumeKmsKeyId out or choose an instance type without local storage"
        )
