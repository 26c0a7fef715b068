"""The compiled pipeline definition: which literals stand in it for what only a stack knows, and how they are replaced.

The SageMaker SDK cannot take CDK tokens: `pipeline_code.compile` writes the literals below into `definition.json`, the
stack calls `fill` with tokens. Each literal satisfies the pattern that the API sets for its field, so the compiled file
can be validated as it stands.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

STEPS: Final = ("preprocess", "train", "evaluate")

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "environment": "placeholder-environment",
    "cost_center": "placeholder-cost-center",
    "region": "placeholder-region",
    "artifact_bucket": "placeholder-artifact-bucket",
    "kms_key_arn": "arn:aws:kms:us-east-1:000000000000:key/placeholder-kms-key",
    "model_package_group": "placeholder-model-package-group",
    "processing_role_arn": "arn:aws:iam::000000000000:role/placeholder-processing-role",
    "training_role_arn": "arn:aws:iam::000000000000:role/placeholder-training-role",
    "xgboost_image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/placeholder-xgboost-image:0",
    "preprocess_code_uri": "s3://placeholder-code/preprocess-uri",
    "preprocess_code_file": "placeholder-preprocess-code-file",
    "train_code_uri": "s3://placeholder-code/train-uri",
    "train_code_file": "placeholder-train-code-file",
    "evaluate_code_uri": "s3://placeholder-code/evaluate-uri",
    "evaluate_code_file": "placeholder-evaluate-code-file",
}

_NAMES: Final = {literal: name for name, literal in PLACEHOLDERS.items()}
_LITERAL: Final = re.compile("|".join(re.escape(literal) for literal in _NAMES))


def fill(
    definition: str,
    values: Mapping[str, str],
    *,
    parameter_defaults: Mapping[str, str | int | float | bool] | None = None,
) -> str:
    """The definition with every placeholder replaced by its value (a CDK token is as good as a string).

    `parameter_defaults` overrides the default of pipeline parameters by name. Raises ValueError on an unknown or a
    missing placeholder, and on a parameter that the definition does not declare.
    """
    if unknown := sorted(values.keys() - PLACEHOLDERS.keys()):
        raise ValueError(f"unknown placeholders {unknown}; known are {sorted(PLACEHOLDERS)}")
    missing = sorted({_NAMES[literal] for literal in _LITERAL.findall(definition)} - values.keys())
    if missing:
        raise ValueError(f"no value given for placeholders {missing}, which the definition uses")
    document = json.loads(definition)
    parameters: dict[str, dict[str, Any]] = {parameter["Name"]: parameter for parameter in document["Parameters"]}
    for name, default in (parameter_defaults or {}).items():
        if name not in parameters:
            raise ValueError(f"the definition declares no parameter {name!r}; it declares {sorted(parameters)}")
        parameters[name]["DefaultValue"] = default
    return canonical(_replace(document, values))


def canonical(document: object) -> str:
    """The one spelling of a JSON document: keys sorted, one-space indent, a newline at the end."""
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _replace(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return _LITERAL.sub(lambda match: values[_NAMES[match.group()]], node)
    if isinstance(node, dict):
        return {key: _replace(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_replace(item, values) for item in node]
    return node
