"""The compiled pipeline definition: which literals stand in it for what only a stack knows, and how they are replaced.

The SageMaker SDK cannot take CDK tokens: `pipeline_code.compile` writes the literals below into `definition.json`, the
stack calls `fill` with tokens. Each literal satisfies the pattern that the API sets for its field, so the compiled file
can be validated as it stands.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

# Beside these, every step folder has two: `<step>_code_uri` and `<step>_code_file` (`code_uri`, `code_file`).
PLACEHOLDERS: Final[Mapping[str, str]] = {
    "environment": "placeholder-environment",
    "cost_center": "placeholder-cost-center",
    "region": "placeholder-region",
    "commit": "placeholder-commit",
    "definition_hash": "placeholder-definition-hash",
    "artifact_bucket": "placeholder-artifact-bucket",
    "data_bucket": "placeholder-data-bucket",
    "executions_folder": "placeholder-executions-folder",
    "no_champion_uri": "s3://placeholder-no-champion/uri",
    "no_verdict_uri": "s3://placeholder-no-verdict/uri",
    "kms_key_arn": "arn:aws:kms:us-east-1:000000000000:key/placeholder-kms-key",
    "model_package_group": "placeholder-model-package-group",
    "processing_role_arn": "arn:aws:iam::000000000000:role/placeholder-processing-role",
    "training_role_arn": "arn:aws:iam::000000000000:role/placeholder-training-role",
    "scoring_role_arn": "arn:aws:iam::000000000000:role/placeholder-scoring-role",
    "xgboost_image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/placeholder-xgboost-image:0",
    "sklearn_image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/placeholder-sklearn-image:0",
    "spark_image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/placeholder-spark-image:0",
    "external_check_queue_url": "https://sqs.us-east-1.amazonaws.com/000000000000/placeholder-external-check-queue",
    "decide_function_arn": "arn:aws:lambda:us-east-1:000000000000:function:placeholder-decide-function",
}

_STEP: Final = r"[a-z][a-z0-9_]*"
_CODE: Final = re.compile(rf"s3://placeholder-code/(?P<uri>{_STEP})/uri|placeholder-code-file-(?P<file>{_STEP})-end")
_FIXED: Final = {literal: name for name, literal in PLACEHOLDERS.items()}
_LITERAL: Final = re.compile("|".join([*(re.escape(literal) for literal in _FIXED), _CODE.pattern]))


def code_uri(step: str) -> str:
    """The literal for the S3 URI of a step folder's code bundle."""
    return f"s3://placeholder-code/{step}/uri"


def code_file(step: str) -> str:
    """The literal for the file name of a step folder's code bundle."""
    return f"placeholder-code-file-{step}-end"


def placeholders_in(text: str) -> set[str]:
    """The names of the placeholders that a definition, or any part of it, uses."""
    return {_name(match) for match in _LITERAL.finditer(text)}


def without_placeholders(text: str) -> str:
    """A definition with every placeholder cut out: what is left must fit any account and region."""
    return _LITERAL.sub("", text)


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
    if unknown := sorted(name for name in values if not _is_known(name)):
        raise ValueError(f"unknown placeholders {unknown}; known are {sorted(PLACEHOLDERS)} and each step's code")
    document = json.loads(definition)
    parameters: dict[str, dict[str, Any]] = {parameter["Name"]: parameter for parameter in document["Parameters"]}
    for name, default in (parameter_defaults or {}).items():
        if name not in parameters:
            raise ValueError(f"the definition declares no parameter {name!r}; it declares {sorted(parameters)}")
        parameters[name]["DefaultValue"] = default
    if missing := sorted(placeholders_in(json.dumps(document)) - values.keys()):
        raise ValueError(f"no value given for placeholders {missing}, which the definition uses")
    return canonical(_replace(document, values))


def canonical(document: object) -> str:
    """The one spelling of a JSON document: keys sorted, one-space indent, a newline at the end."""
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _is_known(name: str) -> bool:
    return name in PLACEHOLDERS or re.fullmatch(rf"{_STEP}_code_(uri|file)", name) is not None


def _name(match: re.Match[str]) -> str:
    if step := match["uri"]:
        return f"{step}_code_uri"
    if step := match["file"]:
        return f"{step}_code_file"
    return _FIXED[match.group()]


def _replace(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return _LITERAL.sub(lambda match: values[_name(match)], node)
    if isinstance(node, dict):
        return {key: _replace(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_replace(item, values) for item in node]
    return node
