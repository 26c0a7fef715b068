"""A pipeline definition, parsed and checked whole before anything runs.

Source: https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.pipelines import conditions
from dual_pipeline_local.sagemaker.pipelines.expressions import (
    EXECUTION_VARIABLES,
    Reference,
    expressions,
    fault,
    function_of,
)

VERSION = "2020-12-01"
STEP_TYPES = ("Condition", "Fail", "Model", "Processing", "RegisterModel", "Training")
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_TOP = {"Version", "Metadata", "MlflowConfig", "Parameters", "PipelineExperimentConfig", "Steps"}
_STEP = {"Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"}
_STEP_OF_TYPE: Mapping[str, set[str]] = {
    "Processing": {"CacheConfig", "PropertyFiles", "RetryPolicies"},
    "Training": {"CacheConfig", "RetryPolicies"},
    "Model": {"RetryPolicies"},
    "RegisterModel": {"RetryPolicies"},
}


@dataclass(frozen=True)
class Branch:
    """The side of a Condition step on which a step lies."""

    condition: str
    outcome: bool


@dataclass(frozen=True)
class Step:
    """One step, with the steps that must have succeeded before it and the branch it lies on."""

    name: str
    type: str
    arguments: Record
    source: Record
    branch: Branch | None
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Definition:
    """A checked definition; `steps` are in an order in which they can run."""

    parameters: Mapping[str, Record]
    steps: tuple[Step, ...]
    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Definition":
        """Parse and check; raises a ValidationException that names every fault."""
        try:
            return cls._checked(json.loads(text), text)
        except ValueError as error:
            raise _unparsable([str(error)]) from None
        except (AttributeError, KeyError, TypeError) as error:  # a list for an object, a number for a list ...
            raise _unparsable([f"a property has the wrong type or is missing ({error})"]) from None

    @classmethod
    def _checked(cls, document: Any, text: str) -> "Definition":
        faults = list(_top_faults(document))
        if faults:
            raise _unparsable(faults)
        parameters = {parameter["Name"]: parameter for parameter in document.get("Parameters", [])}
        found = list(_collect(document["Steps"], None))
        faults = [*_parameter_faults(document.get("Parameters", [])), *_step_faults(found)]
        if faults:
            raise _unparsable(faults)
        faults = list(_reference_faults(found, parameters))
        if faults:
            raise _unparsable(faults)
        return cls(parameters, _in_order([_with_needs(step) for step in found]), text)

    def values(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The parameters' values for an execution: defaults, overridden by what was given as text.

        Raises ValidationException for an unknown parameter, a missing one or a value of another type.
        """
        unknown = sorted(given.keys() - self.parameters.keys())
        if unknown:
            raise invalid(f"Pipeline parameters {unknown} are not defined in the pipeline definition")
        values = {}
        for name, parameter in self.parameters.items():
            if name in given:
                values[name] = _typed(parameter, given[name])
            elif "DefaultValue" in parameter:
                values[name] = parameter["DefaultValue"]
            else:
                raise invalid(f"Pipeline parameter [{name}] has no default value and none was given")
            _check_enum(parameter, values[name])
        return values


def _unparsable(faults: list[str]) -> Exception:
    return invalid(f"Unable to parse pipeline definition. {'; '.join(faults)}")


def _top_faults(document: Any) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "it is not a JSON object"
        return
    if document.get("Version") != VERSION:
        yield f"Version must be {VERSION}, got {document.get('Version')!r}"
    for name in sorted(set(document) - _TOP):
        yield f"unknown property {name}"
    if not isinstance(document.get("Steps"), list) or not document["Steps"]:
        yield "Steps must be a list of at least one step"
    if not isinstance(document.get("Parameters", []), list):
        yield "Parameters must be a list"
    if document.get("MlflowConfig") is not None:
        yield "MlflowConfig is not modelled by the local emulator, see docs/emulator.md"


def _parameter_faults(parameters: list[Any]) -> Iterator[str]:
    names = [parameter.get("Name") if isinstance(parameter, dict) else None for parameter in parameters]
    for parameter, name in zip(parameters, names, strict=True):
        if not isinstance(name, str):
            yield f"a parameter has no Name: {parameter!r}"
            continue
        if names.count(name) > 1:
            yield f"parameter name {name} is not unique"
        if parameter.get("Type") not in _TYPES:
            yield f"parameter {name} has type {parameter.get('Type')!r}, allowed are {', '.join(_TYPES)}"
            continue
        if unknown := set(parameter) - {"Name", "Type", "DefaultValue", "EnumValues"}:
            yield f"parameter {name} has unknown properties {sorted(unknown)}"
        default = parameter.get("DefaultValue")
        if default is not None and not _TYPES[parameter["Type"]].fits(default):
            yield f"the default {default!r} of parameter {name} is no {parameter['Type']}"
        elif default is not None and default not in parameter.get("EnumValues", [default]):
            yield f"the default {default!r} of parameter {name} is not in its EnumValues"


def _collect(steps: Any, branch: Branch | None) -> Iterator[Step]:
    """All steps, those inside of Condition steps included."""
    for step in steps:
        if not isinstance(step, dict):
            raise _unparsable([f"a step is no object: {step!r}"])
        arguments = step.get("Arguments")
        arguments = arguments if isinstance(arguments, dict) else {}
        name, kind = str(step.get("Name")), str(step.get("Type"))
        own = {key: value for key, value in arguments.items() if key not in ("IfSteps", "ElseSteps")}
        yield Step(name, kind, own if kind == "Condition" else arguments, step, branch)
        if kind == "Condition":
            yield from _collect(arguments.get("IfSteps", []), Branch(name, True))
            yield from _collect(arguments.get("ElseSteps", []), Branch(name, False))


def _step_faults(steps: list[Step]) -> Iterator[str]:
    names = [step.name for step in steps]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"step name {name} is not unique"
    for step in steps:
        if not isinstance(step.source.get("Name"), str) or not _NAME.fullmatch(step.name):
            yield f"step name {step.name!r} must match {_NAME.pattern}"
        if step.type not in STEP_TYPES:
            yield f"step {step.name} of type {step.type} is not modelled by the local emulator, see docs/emulator.md"
            continue
        if not isinstance(step.source.get("Arguments"), dict):
            yield f"step {step.name} has no Arguments"
        if unknown := set(step.source) - _STEP - _STEP_OF_TYPE.get(step.type, set()):
            yield f"step {step.name} has properties that a {step.type} step cannot have: {sorted(unknown)}"
        if any(not isinstance(name, str) for name in step.source.get("DependsOn", [])):
            yield f"step {step.name}: DependsOn with run conditions is not modelled by the local emulator"
        yield from _FORMS.get(step.type, _no_faults)(step)


def _condition_faults(step: Step) -> Iterator[str]:
    tests = step.arguments.get("Conditions")
    if not isinstance(tests, list) or not tests:
        yield f"step {step.name} has no Conditions"
        return
    if unknown := set(step.arguments) - {"Conditions"}:
        yield f"step {step.name} has unknown arguments {sorted(unknown)}"
    yield from (f"step {step.name}: {found}" for found in map(conditions.fault, tests) if found)


def _fail_faults(step: Step) -> Iterator[str]:
    if set(step.arguments) != {"ErrorMessage"}:
        yield f"step {step.name} takes ErrorMessage"


def _processing_faults(step: Step) -> Iterator[str]:
    outputs = step.arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])
    names = {output.get("OutputName") for output in outputs}
    for file in step.source.get("PropertyFiles", []):
        if set(file) != {"PropertyFileName", "OutputName", "FilePath"}:
            yield f"a PropertyFile of step {step.name} takes PropertyFileName, OutputName and FilePath"
        elif file["OutputName"] not in names:
            yield f"PropertyFile {file['PropertyFileName']} of step {step.name} names an unknown output"


def _no_faults(_step: Step) -> Iterator[str]:
    return iter(())


_FORMS: Mapping[str, Callable[[Step], Iterator[str]]] = {
    "Condition": _condition_faults,
    "Fail": _fail_faults,
    "Processing": _processing_faults,
}


def _reference_faults(steps: list[Step], parameters: Mapping[str, Record]) -> Iterator[str]:
    by_name = {step.name: step for step in steps}
    for step in steps:
        for name in step.source.get("DependsOn", []):
            if name not in by_name:
                yield f"step {step.name} depends on {name}, which does not exist"
        for name, argument in expressions(step.arguments):
            found = fault(name, argument)
            if found or (name == "Get" and (found := _dangling(argument, by_name, parameters))):
                yield f"step {step.name}: {found}"


def _dangling(argument: Any, steps: Mapping[str, Step], parameters: Mapping[str, Record]) -> str | None:
    reference = Reference.parse(argument)
    known: Mapping[str, Any] = {
        "Parameters": parameters,
        "Execution": dict.fromkeys(EXECUTION_VARIABLES),
        "Steps": steps,
    }
    if reference.name not in known[reference.root]:
        return f"Get of {reference.text}, which does not exist"
    if reference.root == "Steps" and reference.path[0] == "PropertyFiles":
        files = steps[reference.name].source.get("PropertyFiles", [])
        if reference.path[1:] not in [(file["PropertyFileName"],) for file in files]:
            return f"Get of {reference.text}, which does not exist"
    return None


def _with_needs(step: Step) -> Step:
    needs = set(step.source.get("DependsOn", []))
    for name, argument in expressions(step.arguments):
        if name == "Get" and (reference := Reference.parse(argument)).root == "Steps":
            needs.add(reference.name)
    if step.branch:
        needs.add(step.branch.condition)
    return Step(step.name, step.type, step.arguments, step.source, step.branch, frozenset(needs))


def _in_order(steps: list[Step]) -> tuple[Step, ...]:
    by_name = {step.name: step for step in steps}
    try:
        order = list(TopologicalSorter({step.name: step.needs for step in steps}).static_order())
    except CycleError as error:
        raise _unparsable([f"steps depend on each other in a cycle: {' -> '.join(error.args[1])}"]) from None
    return tuple(by_name[name] for name in order)


@dataclass(frozen=True)
class _Type:
    kinds: tuple[type, ...]
    read: Callable[[str], Any]

    def fits(self, value: object) -> bool:
        if function_of(value):
            return False
        return isinstance(value, self.kinds) and (bool in self.kinds or not isinstance(value, bool))


_TYPES: Mapping[str, _Type] = {
    "String": _Type((str,), str),
    "Integer": _Type((int,), int),
    "Float": _Type((int, float), float),
    "Boolean": _Type((bool,), {"true": True, "false": False, "True": True, "False": False}.__getitem__),
}


def _typed(parameter: Record, text: str) -> Any:
    try:
        return _TYPES[parameter["Type"]].read(text)
    except (ValueError, KeyError):
        raise invalid(
            f"Pipeline parameter [{parameter['Name']}] must be of type {parameter['Type']}, got {text!r}"
        ) from None


def _check_enum(parameter: Record, value: object) -> None:
    allowed = parameter.get("EnumValues")
    if allowed and value not in allowed:
        raise invalid(f"Pipeline parameter [{parameter['Name']}] must be one of {allowed}, got {value!r}")
