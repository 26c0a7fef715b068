"""A pipeline definition, parsed and checked whole before anything runs.

Source: https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, NoReturn

from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.pipelines.expressions import Reference, expressions
from dual_pipeline_local.sagemaker.pipelines.forms import experiment_faults, reference_faults, step_faults, top_faults
from dual_pipeline_local.sagemaker.pipelines.parameters import parameter_faults, values_of
from dual_pipeline_local.sagemaker.pipelines.step import Branch, Step

LONGEST_DEFINITION = 1_048_576
_DEEPEST = 2


@dataclass(frozen=True)
class Definition:
    """A checked definition; `steps` are in an order in which they can run."""

    parameters: Mapping[str, Record]
    steps: tuple[Step, ...]
    experiment: Record | None
    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Definition":
        """Parse and check; raises a ValidationException that names every fault."""
        if len(text) > LONGEST_DEFINITION:
            raise _unparsable([f"it has {len(text)} characters, the limit is {LONGEST_DEFINITION}"])
        try:
            return cls._checked(json.loads(text, parse_constant=_refuse_constant), text)
        except (ValueError, RecursionError) as error:
            raise _unparsable([str(error)]) from None
        except (AttributeError, KeyError, TypeError) as error:  # a list for an object, a number for a list ...
            raise _unparsable([f"a property has the wrong type or is missing ({error})"]) from None

    @classmethod
    def _checked(cls, document: Any, text: str) -> "Definition":
        _refuse(top_faults(document))
        listed = document.get("Parameters", [])
        found = list(_collect(document["Steps"]))
        _refuse([*parameter_faults(listed), *step_faults(found)])
        parameters = {parameter["Name"]: parameter for parameter in listed}
        experiment = document.get("PipelineExperimentConfig")
        _refuse([*experiment_faults(experiment, parameters), *reference_faults(found, parameters)])
        return cls(parameters, _in_order([_with_needs(step) for step in found]), experiment, text)

    def values(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The parameters' values for an execution, see `values_of`."""
        return values_of(self.parameters, given)


def _refuse(faults: Iterator[str] | list[str]) -> None:
    if found := list(faults):
        raise _unparsable(found)


def _unparsable(faults: list[str]) -> Exception:
    return invalid(f"Unable to parse pipeline definition. {'; '.join(faults)}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _collect(steps: Any, branch: Branch | None = None, depth: int = 1) -> Iterator[Step]:
    """All steps, those inside of Condition steps included."""
    for step in steps:
        if not isinstance(step, dict):
            raise _unparsable([f"a step is no object: {step!r}"])
        arguments = step.get("Arguments")
        arguments = arguments if isinstance(arguments, dict) else {}
        name, kind = str(step.get("Name")), str(step.get("Type"))
        own = {key: value for key, value in arguments.items() if key not in ("IfSteps", "ElseSteps")}
        yield Step(name, kind, own if kind == "Condition" else arguments, step, branch)
        if kind == "Condition" and depth <= _DEEPEST:  # what is nested deeper is refused with its parent
            yield from _collect(arguments.get("IfSteps", []), Branch(name, True), depth + 1)
            yield from _collect(arguments.get("ElseSteps", []), Branch(name, False), depth + 1)


def _with_needs(step: Step) -> Step:
    needs = set(step.source.get("DependsOn", []))
    for name, argument in expressions(step.arguments):
        if name == "Get" and (reference := Reference.parse(argument)).root == "Steps":
            needs.add(reference.name)
    if step.branch:
        needs.add(step.branch.condition)
    return replace(step, needs=frozenset(needs))


def _in_order(steps: list[Step]) -> tuple[Step, ...]:
    by_name = {step.name: step for step in steps}
    try:
        order = list(TopologicalSorter({step.name: sorted(step.needs) for step in steps}).static_order())
    except CycleError as error:
        raise _unparsable([f"steps depend on each other in a cycle: {' -> '.join(error.args[1])}"]) from None
    return tuple(by_name[name] for name in order)
