"""Check how the steps of a definition hang together: every reference resolves, and the order of steps exists.

Rules: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html, with what Describe returns as
botocore's model has it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from botocore.model import Shape

from pipeline_code.request_check import output_shape

Json: TypeAlias = dict[str, Any]

DESCRIBED_BY: Mapping[str, str] = {
    "Processing": "DescribeProcessingJob",
    "Training": "DescribeTrainingJob",
    "Transform": "DescribeTransformJob",
    "Tuning": "DescribeHyperParameterTuningJob",
    "Model": "DescribeModel",
    "RegisterModel": "DescribeModelPackage",
}
# https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html
_EXECUTION_VARIABLES = frozenset(
    """
    CurrentDateTime PipelineArn PipelineExecutionArn PipelineExecutionId PipelineName ProcessingJobName StartDateTime
    TrainingJobName
    """.split()
)
_PART = re.compile(r"\.?(?P<name>[A-Za-z0-9]+)(?P<index>\[(?:'[^']+'|\d+)\])*")


class _Place(NamedTuple):
    """A step with the branch that it lies in."""

    step: Json
    condition: str | None
    branch: str | None


def reference_problems(document: Json) -> Iterator[str]:
    """What does not resolve or cannot be ordered, a sentence each."""
    parameters = {parameter["Name"] for parameter in document["Parameters"]}
    places: dict[str, _Place] = {}
    for place in _places(document["Steps"]):
        name = place.step["Name"]
        if name in places:
            yield f"two steps are named {name!r}; names are unique"
        places[name] = place
        if place.condition and place.step["Type"] == "Condition":
            yield f"step {name}: SageMaker allows no Condition step inside another, {place.condition}"
    for name, place in places.items():
        yield from _needed(place, places)
        for reference in _references(_own(place.step)):
            if problem := _unresolved(reference, place, places, parameters):
                yield f"step {name}: {problem}"
    if cycle := _cycle({name: _dependencies(place, places) for name, place in places.items()}):
        yield f"steps wait for each other in a circle: {' -> '.join(cycle)}"


def _places(steps: list[Json], condition: str | None = None, branch: str | None = None) -> Iterator[_Place]:
    for step in steps:
        yield _Place(step, condition, branch)
        if step["Type"] == "Condition":
            for inner in ("IfSteps", "ElseSteps"):
                yield from _places(step["Arguments"][inner], step["Name"], inner)


def _own(step: Json) -> Any:
    """A step without the steps of its branches."""
    if step["Type"] != "Condition":
        return step
    return {**step, "Arguments": {"Conditions": step["Arguments"]["Conditions"]}}


def _references(node: Any) -> Iterator[str]:
    """Every `Get`; a JsonGet's is that of its property file."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        if node.keys() == {"Get"}:
            yield node["Get"]
        else:
            for value in node.values():
                yield from _references(value)


def _needed(place: _Place, places: Mapping[str, _Place]) -> Iterator[str]:
    name = place.step["Name"]
    for other in place.step.get("DependsOn", []):
        if other not in places:
            yield f"step {name}: depends on step {other!r}, which does not exist"
        elif places[other].step["Type"] == "Condition":
            yield f"step {name}: SageMaker allows no DependsOn a Condition step, {other}"
    for file in place.step.get("PropertyFiles", []):
        if file["OutputName"] not in _outputs(place.step):
            yield f"step {name}: its property file lies in output {file['OutputName']!r}, which it does not declare"


def _unresolved(reference: str, place: _Place, places: Mapping[str, _Place], parameters: set[str]) -> str | None:
    kind, _, rest = reference.partition(".")
    if kind == "Parameters":
        return None if rest in parameters else f"parameter {rest!r} is not declared"
    if kind == "Execution":
        return None if rest in _EXECUTION_VARIABLES else f"{reference!r} is no variable of an execution"
    if kind == "PipelineExperimentConfig":
        return None if rest in ("ExperimentName", "TrialName") else f"{reference!r} does not exist"
    if kind != "Steps":
        return f"{reference!r} refers to nothing that SageMaker knows"
    name, _, path = rest.partition(".")
    if name not in places:
        return f"{reference!r} refers to step {name!r}, which does not exist"
    other = places[name]
    if other.condition and other.condition == place.condition and other.branch != place.branch:
        return f"{reference!r} refers to a step of the other branch, which never runs in the same execution"
    return _undescribed(path, other.step)


def _undescribed(path: str, step: Json) -> str | None:
    """Why a path leads nowhere in what a step declares or its job's description holds; None if it leads somewhere."""
    reference = f"Steps.{step['Name']}.{path}"
    if path.startswith("PropertyFiles."):
        declared = [file["PropertyFileName"] for file in step.get("PropertyFiles", [])]
        wanted = path.removeprefix("PropertyFiles.")
        return None if wanted in declared else f"{reference!r} is no property file of that step, which has {declared}"
    if step["Type"] in ("Callback", "Lambda"):
        declared = [f"OutputParameters['{output['OutputName']}']" for output in step["OutputParameters"]]
        return None if path in declared else f"{reference!r} is no output of that step, which has {declared}"
    if step["Type"] not in DESCRIBED_BY:
        return f"{reference!r} refers to a {step['Type']} step, which has no properties"
    if (output := re.match(r"ProcessingOutputConfig\.Outputs\['([^']+)'\]", path)) and (
        output[1] not in _outputs(step)
    ):
        return f"{reference!r} refers to output {output[1]!r}, which that step does not declare"
    shape = describe(step["Type"], path)
    if shape is None:
        return f"{reference!r} is not in what {DESCRIBED_BY[step['Type']]} returns"
    return f"{reference!r} is a {shape.type_name}, not one value" if shape.type_name in ("structure", "list") else None


def describe(step_type: str, path: str) -> Shape | None:
    """The shape of a property of a step, or None if its job's description has no such member."""
    shape: Shape | None = output_shape(DESCRIBED_BY[step_type])
    at = 0
    while at < len(path):
        part = _PART.match(path, at)
        if part is None or shape is None or shape.type_name != "structure":
            return None
        shape = shape.members.get(part["name"])  # type: ignore[attr-defined]
        for _ in re.findall(r"\[[^]]+\]", part.group()):
            if shape is None or shape.type_name not in ("list", "map"):
                return None
            shape = getattr(shape, "member" if shape.type_name == "list" else "value")
        at = part.end()
    return shape


def _outputs(step: Json) -> list[str]:
    outputs = step["Arguments"].get("ProcessingOutputConfig", {}).get("Outputs", [])
    return [output["OutputName"] for output in outputs]


def _dependencies(place: _Place, places: Mapping[str, _Place]) -> list[str]:
    names = {reference.split(".")[1] for reference in _references(_own(place.step)) if reference.startswith("Steps.")}
    names |= set(place.step.get("DependsOn", []))
    if place.condition:
        names.add(place.condition)
    return sorted(names & places.keys())


def _cycle(graph: Mapping[str, list[str]]) -> list[str] | None:
    """One circle of a graph, as a path that ends where it starts."""
    done: set[str] = set()

    def search(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        found = next((each for other in graph[name] if (each := search(other, [*path, name]))), None)
        done.add(name)
        return found

    return next((each for name in graph if (each := search(name, []))), None)
