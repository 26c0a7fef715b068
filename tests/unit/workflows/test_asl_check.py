"""Documents of the Amazon States Language: each mistake in one sentence, and none found in a sound one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline import asl_check
from dual_pipeline.errors import ConfigError
from dual_pipeline_local import definitions

TASK = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish"}
END = {"Type": "Succeed"}


def machine(states: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"StartAt": "A", "States": states, **more}


def found(document: Any) -> list[str]:
    return list(asl_check.problems(document))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the document must be JSON, got Expecting property name enclosed in double quotes at line 1, column 2: correct it there"),
        ("[1]", "the document must be a JSON object with StartAt and States, got [1]: export it"),
        ('{"States": {"A": {}, "A": {}}}', "the document must name each key once, got 'A' twice in one object: rename one"),
        ('{"TimeoutSeconds": NaN}', "the document must be JSON, got NaN, which is none: write a number"),
        ('"' + "x" * 1_048_576 + '"', "the document must have at most 1048576 bytes, got 1048578: split the workflow"),
        ("[" * 100_000, "the document must be JSON that can be read, got one nested too deeply: flatten it"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(text: str, message: str) -> None:
    """A text that cannot be read says where and what to do."""
    with pytest.raises(ConfigError) as error:
        asl_check.read(text)
    assert message == str(error.value)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "/States must be an object with at least one state, got nothing: add one"),
        ({"StartAt": "A", "States": {}}, "/States must be an object with at least one state, got {}: add one"),
        (machine({"B": END}), '/StartAt must name a state, got "A": there are B'),
        (machine({"A": END}, QueryLanguage="SQL"), '/QueryLanguage must be JSONPath or JSONata, got "SQL": correct it'),
        (machine({"A": []}), "/States/A must be an object, got []: describe the state"),
        (machine({"A": {"Type": "Taks"}}), '/States/A/Type must be one of Task, Pass, Choice, Wait, Succeed, Fail, Parallel, Map, got "Taks": correct it'),
        (machine({"A": TASK | {"Next": "B"}}), '/States/A/Next must name a state beside it, got "B": there are A'),
        (machine({"A": TASK | {"End": True, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}]}}), '/States/A/Catch/0/Next must name a state beside it, got "B": there are A'),
        (machine({"A": {"Type": "Choice", "Choices": [{"Next": "B"}], "Default": "C"}, "B": END}), '/States/A/Default must name a state beside it, got "C": there are A, B'),
        (machine({"A": END, "B": END}), "/States/B must be reached from StartAt, got no way to it: lead one there or delete it"),
        (machine({"A": TASK | {"Next": "B"}, "B": TASK | {"Next": "A"}}), '/States/A must have a way to an end, got none: end it by "End": true, or lead it to a Succeed or Fail state'),
        (machine({"A": TASK}), '/States/A must have either Next or "End": true, got neither: choose one'),
        (machine({"A": TASK | {"Next": "B", "End": True}, "B": END}), '/States/A must have either Next or "End": true, got both: choose one'),
        (machine({"A": END | {"End": True}}), "/States/A must have no End, for it is a Succeed, got true: delete it"),
        (machine({"A": {"Type": "Choice", "Default": "B"}, "B": END}), "/States/A/Choices must be a list with at least one rule, got nothing: add one"),
        (machine({"A": {"Type": "Choice", "Choices": ["B"]}, "B": END}), '/States/A/Choices/0 must be an object, got "B": describe the rule'),
        (machine({"A": {"Type": "Choice", "Choices": [{"Next": "B"}]}, "B": END}), "/States/A/Choices/0 must have something to test, got none of Variable, And, Or, Not: add it"),
        (machine({"A": {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsNull": True, "Next": "B"}]}, "B": END}, QueryLanguage="JSONata"), "/States/A/Choices/0 must speak JSONata, got Variable, which it does not know: use Condition"),
        (machine({"A": {"Type": "Choice", "Choices": [{"Condition": "{% $x %}", "Next": "B"}]}, "B": END}), "/States/A/Choices/0 must speak JSONPath, got Condition, which it does not know: use Variable"),
        (machine({"A": {"Type": "Parallel", "End": True}}), "/States/A/Branches must be a list with at least one branch, got nothing: add one"),
        (machine({"A": {"Type": "Parallel", "End": True, "Branches": []}}), "/States/A/Branches must be a list with at least one branch, got []: add one"),
        (machine({"A": {"Type": "Map", "End": True}}), "/States/A/ItemProcessor must be an object with StartAt and States, got nothing: add it"),
        (machine({"A": {"Type": "Wait", "End": True}}), "/States/A must have one time to wait for, got none: give one of Seconds, Timestamp, SecondsPath, TimestampPath"),
        (machine({"A": {"Type": "Wait", "End": True, "Seconds": 1, "Timestamp": "x"}}, QueryLanguage="JSONata"), "/States/A must have one time to wait for, got Seconds, Timestamp: give one of Seconds, Timestamp"),
        (machine({"A": {"Type": "Wait", "End": True, "SecondsPath": "$.s"}}, QueryLanguage="JSONata"), "/States/A must speak JSONata, got SecondsPath, which it does not know: use Seconds"),
        (machine({"A": {"Type": "Task", "End": True}}), "/States/A/Resource must be the ARN of an integration, got nothing: add it"),
        (machine({"A": TASK | {"End": True, "Arguments": {}}}), "/States/A must speak JSONPath, got Arguments, which it does not know: use Parameters"),
        (machine({"A": TASK | {"End": True, "Parameters": {}}}, QueryLanguage="JSONata"), "/States/A must speak JSONata, got Parameters, which it does not know: use Arguments"),
        (machine({"A": TASK | {"End": True, "QueryLanguage": "SQL"}}), '/States/A/QueryLanguage must be JSONPath or JSONata, got "SQL": correct it'),
        (machine({"A": {"Type": "Parallel", "End": True, "Branches": [machine({"A": END})]}}), "/States/A/Branches/0/States/A must have a name of its own in the whole document, got that of /States/A: rename one"),
        (machine({"A": {"Type": "Map", "End": True, "ItemProcessor": {"StartAt": "B", "States": {"B": TASK}}}}), '/States/A/ItemProcessor/States/B must have either Next or "End": true, got neither: choose one'),
        ({"StartAt": "x" * 81, "States": {"x" * 81: END}}, f"/States/{'x' * 81} must have a name of at most 80 characters, got 81: shorten it"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence(document: Any, problem: str) -> None:
    """What, got, do; and where it stands."""
    assert problem in found(document)


NAMES = st.lists(st.text("abcde", min_size=1, max_size=3), min_size=1, max_size=6, unique=True)


@st.composite
def documents(draw: st.DrawFn, depth: int = 1) -> dict[str, Any]:
    """Sound documents: a chain in which states also branch ahead, and branches that are documents themselves."""
    prefix = draw(st.uuids()).hex if depth == 0 else ""
    names = [f"{prefix}{name}" for name in draw(NAMES)]
    states: dict[str, Any] = {}
    for at, name in enumerate(names):
        rest = names[at + 1 :]
        kind = draw(st.sampled_from(["Task", "Pass", "Wait", "Choice", "Parallel"]))
        if not rest:
            states[name] = draw(st.sampled_from([{"Type": "Succeed"}, {"Type": "Fail"}, {"Type": "Pass", "End": True}]))
        elif kind == "Choice":
            rule = {"Variable": "$.x", "IsPresent": True, "Next": draw(st.sampled_from(rest))}
            states[name] = {"Type": "Choice", "Choices": [rule], "Default": rest[0]}
        elif kind == "Parallel" and depth:
            states[name] = {"Type": "Parallel", "Branches": [draw(documents(depth=0))], "Next": rest[0]}
        elif kind == "Wait":
            states[name] = {"Type": "Wait", "Seconds": 1, "Next": rest[0]}
        else:
            states[name] = (TASK if kind == "Task" else {"Type": "Pass"}) | {"Next": rest[0]}
    return {"StartAt": names[0], "States": states}


@given(documents())
def test_a_sound_document_has_no_problem(document: dict[str, Any]) -> None:
    """What Step Functions accepts is not refused, and reading it back changes nothing."""
    assert [] == found(document)
    assert document == asl_check.read(json.dumps(document))


@given(documents(), st.data())
def test_a_document_with_a_broken_way_is_refused(document: dict[str, Any], data: st.DataObject) -> None:
    """Whatever state's target is lost, the check and the local Step Functions both say so."""
    name = data.draw(st.sampled_from(sorted(document["States"])))
    state = document["States"][name]
    if state.get("Type") in ("Succeed", "Fail"):
        return
    state.pop("End", None)
    state["Next"] = "nowhere"
    assert any("nowhere" in each for each in found(document)) or state["Type"] == "Choice"
    assert definitions.problem(json.dumps(document)) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["StartAt", "States", "Type", "Next", "End", "Choices", "Catch", "Branches", "ItemProcessor", "A"])
        | st.text(max_size=3),
        inner | st.sampled_from(["Task", "Choice", "Map", "Parallel", "A"]),
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["StartAt", "States", "QueryLanguage"]) | st.text(max_size=3), JSON, max_size=4))
def test_no_document_breaks_the_check(document: dict[str, Any]) -> None:
    """Any JSON object is judged, in sentences."""
    for problem in found(document):
        assert ", got " in problem
        assert problem.startswith("/")
