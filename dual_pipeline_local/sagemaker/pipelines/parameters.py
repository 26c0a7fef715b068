"""Types of parameters and of outputs: how a value is written as text, and what a definition may declare.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-parameters.html; text longer than 1,024
characters is refused, as StartPipelineExecution and SendPipelineExecutionStepSuccess do (botocore's model).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.pipelines.expressions import function_of

LONGEST_VALUE = 1_024
MOST_PARAMETERS = 200
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,256}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False, "True": True, "False": False}
_MEMBERS = {"Name", "Type", "DefaultValue", "EnumValues", "Description"}


def read(kind: str, text: str) -> Any:
    """The value that a text of a type stands for; raises ValueError."""
    if len(text) > LONGEST_VALUE:
        raise ValueError(f"{len(text)} characters, the limit is {LONGEST_VALUE}")
    return _TYPES[kind].read(text)


def values_of(parameters: Mapping[str, Record], given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters' values for an execution: defaults, overridden by what was given as text.

    Raises ValidationException for an unknown parameter, a missing one or a value of another type.
    """
    unknown = sorted(given.keys() - parameters.keys())
    if unknown:
        raise invalid(f"Pipeline parameters {unknown} are not defined in the pipeline definition")
    values = {}
    for name, parameter in parameters.items():
        if name in given:
            values[name] = _typed(parameter, given[name])
        elif "DefaultValue" in parameter:
            values[name] = parameter["DefaultValue"]
        else:
            raise invalid(f"Pipeline parameter [{name}] has no default value and none was given")
        allowed = parameter.get("EnumValues")
        if allowed and values[name] not in allowed:
            raise invalid(f"Pipeline parameter [{name}] must be one of {allowed}, got {values[name]!r}")
    return values


def parameter_faults(parameters: list[Any]) -> Iterator[str]:
    """What is wrong with a definition's parameters."""
    if len(parameters) > MOST_PARAMETERS:
        yield f"there are {len(parameters)} parameters, the limit is {MOST_PARAMETERS}"
    names = [parameter.get("Name") if isinstance(parameter, dict) else None for parameter in parameters]
    for parameter, name in zip(parameters, names, strict=True):
        if not isinstance(name, str):
            yield f"a parameter has no Name: {parameter!r}"
            continue
        if not _NAME.fullmatch(name):
            yield f"parameter name {name!r} must match {_NAME.pattern}"
        if names.count(name) > 1:
            yield f"parameter name {name} is not unique"
        if unknown := set(parameter) - _MEMBERS:
            yield f"parameter {name} has unknown properties {sorted(unknown)}"
        if parameter.get("Type") not in _TYPES:
            yield f"parameter {name} has type {parameter.get('Type')!r}, allowed are {', '.join(_TYPES)}"
            continue
        yield from _value_faults(parameter)


def output_faults(outputs: Any) -> Iterator[str]:
    """What is wrong with the OutputParameters of a Callback or Lambda step."""
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        yield "OutputParameters must be a list of OutputName and OutputType"
        return
    if len(outputs) > _MOST_OUTPUTS:
        yield f"there are {len(outputs)} OutputParameters, the limit is {_MOST_OUTPUTS}"
    names = [output.get("OutputName") for output in outputs]
    for output, name in zip(outputs, names, strict=True):
        if set(output) != {"OutputName", "OutputType"} or not isinstance(name, str) or not 1 <= len(name) <= 256:
            yield f"an output parameter takes OutputName (1 to 256 characters) and OutputType, got {output!r}"
        elif output["OutputType"] not in _TYPES:
            yield f"output parameter {name} has type {output['OutputType']!r}, allowed are {', '.join(_TYPES)}"
        elif names.count(name) > 1:
            yield f"output parameter name {name} is not unique"


def read_outputs(declared: list[Record], given: Mapping[str, str]) -> dict[str, Any]:
    """The values of a step's outputs, each of its declared type; raises ValueError that names every fault."""
    types = {output["OutputName"]: output["OutputType"] for output in declared}
    faults = [
        f"output parameter {name} is not one of the step's {sorted(types)}" for name in given if name not in types
    ]
    values = {}
    for name, kind in types.items():
        try:
            values[name] = read(kind, given[name])
        except KeyError:
            faults.append(f"output parameter {name} is missing")
        except ValueError as error:
            faults.append(f"output parameter {name} must be of type {kind}: {error}")
    if faults:
        raise ValueError("; ".join(faults))
    return values


_MOST_OUTPUTS = 50


def _value_faults(parameter: Record) -> Iterator[str]:
    name, kind, enum = parameter["Name"], parameter["Type"], parameter.get("EnumValues")
    if enum is not None and not (isinstance(enum, list) and enum and all(_TYPES[kind].fits(value) for value in enum)):
        yield f"EnumValues of parameter {name} must be a list of at least one {kind}"
        return
    default = parameter.get("DefaultValue")
    if "DefaultValue" in parameter and not _TYPES[kind].fits(default):
        yield f"the default {default!r} of parameter {name} is no {kind}"
    elif isinstance(default, str) and len(default) > LONGEST_VALUE:
        yield f"the default of parameter {name} has {len(default)} characters, the limit is {LONGEST_VALUE}"
    elif default is not None and enum and default not in enum:
        yield f"the default {default!r} of parameter {name} is not in its EnumValues"


def _typed(parameter: Record, text: str) -> Any:
    try:
        return read(parameter["Type"], text)
    except ValueError as error:
        raise invalid(
            f"Pipeline parameter [{parameter['Name']}] must be of type {parameter['Type']}, {error}"
        ) from None


def _read_integer(text: str) -> int:
    value = int(text) if _INTEGER.fullmatch(text) else None
    if value is None or not -(2**63) <= value < 2**63:
        raise ValueError(f"got {text!r}")
    return value


def _read_float(text: str) -> float:
    value = float(text) if _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"got {text!r}")
    return value


def _read_boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise ValueError(f"got {text!r}")
    return _BOOLEANS[text]


@dataclass(frozen=True)
class _Type:
    kinds: tuple[type, ...]
    read: Callable[[str], Any]

    def fits(self, value: object) -> bool:
        if function_of(value) or (isinstance(value, float) and not math.isfinite(value)):
            return False
        return isinstance(value, self.kinds) and (bool in self.kinds or not isinstance(value, bool))


_TYPES: Mapping[str, _Type] = {
    "String": _Type((str,), str),
    "Integer": _Type((int,), _read_integer),
    "Float": _Type((int, float), _read_float),
    "Boolean": _Type((bool,), _read_boolean),
}
