"""Script mode as the sagemaker-training toolkit does it: how a user's script gets its arguments and environment.

Source: https://github.com/aws/sagemaker-training-toolkit (mapping.py, environment.py, ENVIRONMENT_VARIABLES.md).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.sagemaker.jobs.container import HOST

PROGRAM = "sagemaker_program"
SUBMIT_DIRECTORY = "sagemaker_submit_directory"
TUNING_METRIC = "_tuning_objective_metric"
_OWN = "sagemaker_"
_GROUP = "homogeneousCluster"


@dataclass(frozen=True)
class Script:
    """A user's entry point with its decoded hyperparameters; `framework` holds those the toolkit keeps for itself."""

    program: str
    submit_directory: str
    hyperparameters: Mapping[str, Any]
    framework: Mapping[str, Any]

    @classmethod
    def of(cls, hyperparameters: Mapping[str, str]) -> "Script":
        """Read a job's hyperparameters, whose values are JSON or plain text."""
        decoded = {name: _decode(value) for name, value in hyperparameters.items()}
        return cls(
            program=str(decoded.get(PROGRAM, "")),
            submit_directory=str(decoded.get(SUBMIT_DIRECTORY, "")),
            hyperparameters={name: value for name, value in decoded.items() if not _is_own(name)},
            framework={name: value for name, value in decoded.items() if _is_own(name)},
        )

    def arguments(self) -> list[str]:
        """The script's argv: `--name value` in order of name, `-n value` for names of one letter."""
        words = []
        for name, value in sorted(self.hyperparameters.items()):
            words += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(value)]
        return words

    def environment(self, *, job_name: str, channels: Mapping[str, Mapping[str, str]], instance: str) -> dict[str, str]:
        """The SM_* variables, in terms of the container's paths (`channels`: name -> its inputdataconfig)."""
        directories = {name: f"/opt/ml/input/data/{name}" for name in channels}
        known = {
            "hosts": [HOST],
            "network_interface_name": "eth0",
            "hps": self.hyperparameters,
            "user_entry_point": self.program,
            "framework_params": {k: v for k, v in self.framework.items() if k not in (PROGRAM, SUBMIT_DIRECTORY)},
            "resource_config": resource_config(instance),
            "input_data_config": channels,
            "output_data_dir": "/opt/ml/output/data",
            "channels": sorted(directories),
            "current_host": HOST,
            "current_instance_type": instance,
            "current_instance_group": _GROUP,
            "current_instance_group_hosts": [HOST],
            "instance_groups": [_GROUP],
            "instance_groups_dict": {_GROUP: _group(instance)},
            "distribution_instance_groups": [],
            "is_hetero": False,
            "module_name": self.program.removesuffix(".py"),
            "log_level": self.framework.get("sagemaker_container_log_level", 20),
            "framework_module": None,
            "input_dir": "/opt/ml/input",
            "input_config_dir": "/opt/ml/input/config",
            "output_dir": "/opt/ml/output",
            "output_intermediate_dir": "/opt/ml/output/intermediate",
            "num_cpus": os.cpu_count(),
            "num_gpus": 0,
            "model_dir": "/opt/ml/model",
            "module_dir": self.submit_directory,
            "user_args": self.arguments(),
        }
        training_env = known | {
            "channel_input_dirs": directories,
            "hyperparameters": self.hyperparameters,
            "job_name": job_name,
        }
        each = {f"channel_{name}": path for name, path in directories.items()}
        each |= {f"hp_{name}": value for name, value in self.hyperparameters.items()}
        variables = known | {"training_env": training_env} | each
        return {f"SM_{name.upper()}": _variable(value) for name, value in variables.items()}


def resource_config(instance: str) -> dict[str, Any]:
    """resourceconfig.json of a training job on one instance."""
    return {
        "current_host": HOST,
        "current_instance_type": instance,
        "current_group_name": _GROUP,
        "hosts": [HOST],
        "instance_groups": [_group(instance)],
        "network_interface_name": "eth0",
    }


def _group(instance: str) -> dict[str, Any]:
    return {"instance_group_name": _GROUP, "instance_type": instance, "hosts": [HOST]}


def _is_own(name: str) -> bool:
    return name.startswith(_OWN) or name == TUNING_METRIC


def _decode(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _argument(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{name}={item}" for name, item in sorted(value.items()))
    return str(value)


def _variable(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
