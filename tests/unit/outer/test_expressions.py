"""The outer loop's JSONata, evaluated: input, keys, documents, names, answers and sentences."""

import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_pipeline.asl import jsonata
from dual_pipeline.model_project import Approval
from dual_pipeline.outer_loop.definition import outer_loop_definition
from dual_pipeline.outer_loop.preflight import preflight_definition
from dual_pipeline.outer_loop.setting import CAUSE_TEXT, FAILED, Setting, decoded
from pipeline_code.census.project import CENSUS
from verdicts import verdict_document

Definition = dict[str, Any]
SOURCE = {"bucket": "data-bucket", "key": "census/raw/a.csv", "version_id": "v1", "etag": "e", "sequencer": "1"}
EXECUTION = {"Id": "arn:x:5f3a_9b1c", "Name": "5f3a_9b1c", "StartTime": "2026-11-20T10:00:00Z", "RedriveCount": 0}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"reason": "person"}, ""),
        ({"reason": "person", "detail": "x", "source": None}, ""),
        ({"reason": "data", "source": SOURCE, "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "x"}, ""),
        ({"reason": "data", "source": {"bucket": "data-bucket", "key": "census/raw/x"}}, ""),
        ({"reason": "data", "source": {"bucket": "data-bucket", "key": "census/raw"}}, "source must lie below"),
        ({"reason": "data", "source": {**SOURCE, "bucket": "another"}}, "source must lie below"),
        ({"reason": ["data"]}, "reason must be one of"),
        ({"reason": None}, "reason must be one of"),
        ({"reason": "person", "force": True}, ""),
        ({"reason": "trailing", "force": True}, ""),
        ({"reason": "person", "force": "yes"}, "force must be true or false, got string"),
        ({"reason": "data", "source": SOURCE, "force": True}, "force is for people"),
        ([], "the input must be an object with a reason, got array"),
        (5, "the input must be an object with a reason, got number"),
    ],
)
def test_input(definition: Definition, evaluate: Any, given: Any, problem: str) -> None:
    """Valid input has no problem and malformed input has one that says what was expected."""
    branch = definition["States"]["CheckInput"]["Choices"][0]
    values = evaluate(branch["Assign"], given=given, context={"Execution": EXECUTION})
    assert evaluate(branch["Condition"], given=given) == (problem != "")
    assert problem in values["reason"]
    assert set(values["trigger"]) == {"reason", "detail", "force", "source"}


@pytest.mark.parametrize(
    ("given", "next_"),
    [
        ({"reason": "data", "source": SOURCE}, "ClaimEvent"),
        ({"reason": "data", "source": {**SOURCE, "key": "census/raw/new/"}}, "FreeLocks"),
        ({"reason": "data", "source": {"bucket": "data-bucket", "key": "census/raw/a.csv"}}, "AdmitRun"),
        ({"reason": "person", "source": SOURCE}, "AdmitRun"),
        ({"reason": "schedule"}, "AdmitRun"),
    ],
)
def test_what_comes_first(definition: Definition, evaluate: Any, given: Any, next_: str) -> None:
    """An event is claimed, a folder that the console made is no data, everybody else asks for admission at once."""
    state = definition["States"]["CheckInput"]
    taken = next((c for c in state["Choices"] if evaluate(c["Condition"], given=given)), None)
    assert (taken["Next"] if taken else state["Default"]) == next_
    assigned = taken["Assign"] if taken else state["Assign"]
    assert set(state["Assign"]) <= set(assigned)


LOCK = {"owner": "another", "lease": 4e9, "cool": 0, "pending": True}


@pytest.mark.parametrize(
    ("lock", "reason", "force", "next_"),
    [
        (LOCK, "data", False, "LeavePending"),
        (LOCK, "person", True, "LeavePending"),
        (LOCK, "trailing", False, "FreeLocks"),
        ({**LOCK, "pending": False}, "trailing", False, "FreeLocks"),
        ({**LOCK, "owner": "", "pending": False}, "trailing", True, "FreeLocks"),
        ({**LOCK, "lease": 1}, "data", False, "AdmitRun"),
        ({**LOCK, "owner": "me"}, "data", False, "AdmitRun"),
        ({**LOCK, "owner": "", "cool": 4e9}, "data", False, "Postpone"),
        ({**LOCK, "owner": "", "cool": 4e9}, "trailing", False, "Postpone"),
        ({**LOCK, "owner": "", "cool": 4e9}, "person", True, "AdmitRun"),
        ({**LOCK, "lease": 1, "cool": 4e9}, "data", False, "Postpone"),
        ({**LOCK, "owner": ""}, "data", False, "AdmitRun"),
    ],
)
def test_refusals(definition: Definition, evaluate: Any, lock: Any, reason: str, force: bool, next_: str) -> None:
    """Who is refused waits for the holder, for the end of the cool-down, or asks again; a trailing run that is not
    needed ends."""
    state = definition["States"]["ChooseRefusal"]
    variables = {"lock": lock, "trigger": {"reason": reason, "force": force}, "me": "me", "attempt": 1}
    taken = next((c["Next"] for c in state["Choices"] if evaluate(c["Condition"], variables=variables)), None)
    assert (taken or state["Default"]) == next_


@pytest.mark.parametrize(
    ("reason", "force", "expected"),
    [
        ("data", False, "{free} AND {cool}"),
        ("person", True, "{free}"),
        ("trailing", False, "{free} AND {cool} AND {wanted}"),
        ("trailing", True, "{free} AND {wanted}"),
    ],
)
def test_who_is_admitted(definition: Definition, evaluate: Any, reason: str, force: bool, expected: str) -> None:
    """The lock must be free; force passes the cool-down by; a trailing run needs something that is pending."""
    condition = definition["States"]["AdmitRun"]["Arguments"]["ConditionExpression"]
    parts = {
        "free": "(attribute_not_exists(#owner) OR #owner = :me OR lease_until < :now)",
        "cool": "(attribute_not_exists(cool_until) OR cool_until <= :now OR #owner = :me)",
        "wanted": "(attribute_exists(pending) OR #owner = :me)",
    }
    found = evaluate(condition, variables={"trigger": {"reason": reason, "force": force}})
    assert found == expected.format(**parts)


def test_midnight_and_the_time_of_a_schedule(definition: Definition, evaluate: Any) -> None:
    """What is put off over the cap is due at the next midnight UTC, never in the past, once per moment."""
    states = definition["States"]
    midnight = evaluate(states["PutOff"]["Assign"]["resumeAt"])
    now = time.time()
    assert (midnight % 86_400, now < midnight <= now + 86_400) == (0, True)
    trigger = {"reason": "data", "force": False, "source": None}
    variables = {"resumeAt": 1_900_000_000, "runId": "r", "id": "0123456789ab", "trigger": trigger}
    context = {"StateMachine": {"Id": "arn:machine"}}
    found = evaluate(states["ScheduleTrailing"]["Arguments"], variables=variables, context=context)
    assert (found["Name"], found["ScheduleExpression"]) == ("dev-census-1900000000", "at(2030-03-17T17:46:40)")
    assert json.loads(found["Target"]["Input"]) == {
        "reason": "trailing",
        "detail": "put off by run r",
        "force": False,
        "source": None,
    }
    again = {**variables, "trigger": {**trigger, "reason": "trailing"}}
    name = evaluate(states["ScheduleTrailing"]["Arguments"]["Name"], variables=again)
    assert name == "dev-census-1900000000-0123456789ab", "it may be the schedule of that moment that started it"
    late = evaluate(states["ScheduleTrailing"]["Arguments"]["ScheduleExpression"], variables={"resumeAt": 1})
    assert late > f"at({time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())})"


def test_the_event_key_is_the_hash_of_the_version(definition: Definition, evaluate: Any) -> None:
    """A duplicate event is found under the SHA-256 of bucket, key, version and sequencer."""
    item = evaluate(
        definition["States"]["ClaimEvent"]["Arguments"]["Item"],
        variables={"me": "arn", "trigger": {"source": SOURCE}},
    )
    digest = hashlib.sha256(b"data-bucket/census/raw/a.csv/v1/1").hexdigest()
    assert (item["pk"], item["sk"]) == ({"S": "PROJECT#census"}, {"S": f"EVENT#{digest}"})


@pytest.mark.parametrize(
    "body",
    [
        '{"a": [1, "é"]}',
        ' \n {"a": [1, "é"]}',
        base64.b64encode(b'{"a": [1, "\\u00e9"]}').decode(),
        {"a": [1, "é"]},
    ],
)
def test_documents_are_decoded(evaluate: Any, body: object) -> None:
    """A body is understood as text, as base64 of text, and as JSON that is parsed already."""
    assert evaluate(jsonata(decoded("$states.result.Body")), result={"Body": body}) == {"a": [1, "é"]}


@pytest.mark.parametrize("body", ["{garbage", "", "????", "not base64"])
def test_garbage_is_an_error(evaluate: Any, body: str) -> None:
    """What is no JSON document raises the error that the task's Catch takes."""
    with pytest.raises(Exception, match=r".") as caught:
        evaluate(jsonata(decoded("$states.result.Body")), result={"Body": body})
    assert caught.value.error == "States.QueryEvaluationError"  # type: ignore[attr-defined]


SNAPSHOT = "s3://data-bucket/census/snapshots/1/"
CLEANED = "s3://data-bucket/census/snapshots/2/"
BLOCKING, QUARANTINING, WARNING = (
    next(at for at, rule in enumerate(CENSUS.ruleset.rules) if rule.severity == severity)
    for severity in ("block", "quarantine", "warn")
)


def read_verdict(definition: Definition, evaluate: Any, document: object) -> Any:
    """What the outer loop keeps of a verdict document."""
    expression = definition["States"]["ReadVerdict"]["Assign"]["verdict"]
    variables = {"runId": "run", "snapshotUri": SNAPSHOT}
    return evaluate(expression, result={"Body": json.dumps(document)}, variables=variables)


def document(**changes: Any) -> dict[str, Any]:
    """A whole verdict of this run, with `changes`."""
    return {
        **verdict_document(CENSUS.ruleset, run_id="run", snapshot_uri=SNAPSHOT, broken=changes.pop("broken", ())),
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, {"verdict": "pass", "failed": 0, "quarantined": 0, "snapshot": SNAPSHOT, "reasons": "no reason given"}),
        ({"verdict": "warn", "broken": (WARNING,), "reasons": ["a", "b"]}, {"failed": 1, "reasons": "a; b"}),
        (
            {
                "verdict": "warn",
                "broken": (QUARANTINING,),
                "quarantined_rows": 7,
                "training_snapshot_uri": CLEANED,
            },
            {"failed": 1, "quarantined": 7, "snapshot": CLEANED},
        ),
        ({"verdict": "block", "broken": (BLOCKING,), "training_snapshot_uri": None}, {"failed": 1, "snapshot": ""}),
    ],
)
def test_a_whole_verdict_is_believed(definition: Definition, evaluate: Any, changes: Any, kept: Any) -> None:
    """Its numbers go to metrics and ledger, its snapshot to training."""
    found = read_verdict(definition, evaluate, document(**changes))
    uri = "s3://data-bucket/census/runs/run/verdict.json"
    expected = {"problem": "", "engine": "duckdb 2.0.0", "rows": 1000, "uri": uri, **kept}
    assert expected == {name: found[name] for name in expected}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"verdict": "perhaps"}, "says neither pass, warn nor block"),
        ({"verdict": None}, "says neither pass, warn nor block"),
        ({"run_id": "another"}, "is of another run"),
        ({"run_id": None}, "is of another run"),
        ({"snapshot_uri": CLEANED}, "is about another snapshot"),
        ({"ruleset_sha256": "0" * 64}, "is about another ruleset"),
        ({"engine": None}, "lacks the engine or a number of rows"),
        ({"rows": "1000"}, "lacks the engine or a number of rows"),
        ({"quarantined_rows": None}, "lacks the engine or a number of rows"),
        ({"rules": []}, "lacks results of rules"),
        ({"rules": None}, "lacks results of rules"),
        ({"anomalies": []}, "lacks results of rules"),
        ({"rules": document()["rules"][1:]}, "lacks results of rules"),
        ({"rules": [{**document()["rules"][0], "passed": "yes"}, *document()["rules"][1:]]}, "lacks results of rules"),
        ({"broken": (BLOCKING,)}, "does not block though a rule does"),
        ({"verdict": "warn", "broken": (BLOCKING,)}, "does not block though a rule does"),
        ({"broken": (WARNING,)}, "passes though a rule failed"),
        ({"verdict": "warn", "broken": (QUARANTINING,)}, "though no row was quarantined"),
        ({"training_snapshot_uri": CLEANED}, "though no row was quarantined"),
        (
            {"verdict": "warn", "quarantined_rows": 3, "training_snapshot_uri": "s3://elsewhere/x/"},
            "names no snapshot to train on",
        ),
        ({"verdict": "warn", "quarantined_rows": 3, "training_snapshot_uri": None}, "names no snapshot to train on"),
    ],
)
def test_a_false_verdict_is_refused(definition: Definition, evaluate: Any, changes: Any, problem: str) -> None:
    """A verdict of something else, cut, or at odds with itself is never a pass."""
    assert problem in read_verdict(definition, evaluate, document(**changes))["problem"]


@pytest.mark.parametrize("odd", [["pass"], [], "pass", 5, None, {}, [{"verdict": "pass"}]])
def test_an_odd_verdict_is_refused(definition: Definition, evaluate: Any, odd: object) -> None:
    """JSON that is no object, or an empty one, is no verdict."""
    if isinstance(odd, str | int) or odd is None:
        odd = [odd]
    assert read_verdict(definition, evaluate, odd)["problem"] == "says neither pass, warn nor block"


def test_a_false_verdict_counts_as_invalid(definition: Definition, evaluate: Any) -> None:
    """Its numbers do not reach the metrics, and the run fails."""
    variables = {"verdict": read_verdict(definition, evaluate, document(run_id="another"))}
    data = evaluate(definition["States"]["PublishQuality"]["Arguments"], variables=variables)["MetricData"]
    assert [0, 0, 0, 1] == [each["Value"] for each in data]
    assert {"Name": "Verdict", "Value": "invalid"} == data[-1]["Dimensions"][-1]
    chosen = definition["States"]["GateData"]["Choices"][0]
    assert evaluate(chosen["Condition"], variables=variables) is True
    assigned = evaluate(chosen["Assign"], variables=variables)
    assert ("failed", "ReadVerdict failed: verdict.json is of another run") == (assigned["outcome"], assigned["reason"])


def test_training_goes_on_with_the_cleaned_snapshot(definition: Definition, evaluate: Any) -> None:
    """Which lacks the rows that were set apart."""
    variables = {"verdict": {"problem": "", "verdict": "warn", "snapshot": CLEANED}}
    gate = definition["States"]["GateData"]
    assert [False, False] == [evaluate(rule["Condition"], variables=variables) for rule in gate["Choices"]]
    assert ("SmokeTrain", CLEANED) == (gate["Default"], evaluate(gate["Assign"], variables=variables)["snapshotUri"])


@pytest.mark.parametrize(
    ("answer", "expected", "wrong"),
    [
        ({"predictions": [0.25, 0.75]}, [0.25, 0.75], ""),
        ({"predictions": [0.2500001, 0.7499999]}, [0.25, 0.75], ""),
        ({"predictions": [0.5]}, [0.5], ""),
        ({"predictions": [0.26, 0.75]}, [0.25, 0.75], "1 of 2 golden rows are answered wrongly, the first with 0.26"),
        ({"predictions": [0.5]}, [0.4], "1 of 1 golden rows are answered wrongly, the first with 0.5 instead of 0.4"),
        ({"predictions": [0.9, 0.9]}, [0.1, 0.2], "2 of 2 golden rows"),
        ({"predictions": [0.25]}, [0.25, 0.75], "1 answers to 2 golden rows"),
        ({"predictions": [0.25, "NaN"]}, [0.25, 0.75], "1 of 2 golden rows are answered wrongly"),
        ({"predictions": [0.25, None]}, [0.25, 0.75], "golden rows"),
        ({"error": "x"}, [0.25, 0.75], "0 answers to 2 golden rows"),
        ({"predictions": []}, [], "there are no golden rows"),
    ],
)
def test_golden_answers(
    definition: Definition, evaluate: Any, answer: object, expected: list[float], wrong: str
) -> None:
    """The endpoint answers right only if every golden row is answered by a number within the tolerance."""
    found = evaluate(
        definition["States"]["SmokeTest"]["Assign"]["wrong"],
        result={"Body": json.dumps(answer)},
        variables={"golden": {"expected": expected, "tolerance": 1e-6}},
    )
    assert (found == "") == (wrong == "")
    assert wrong in found


@pytest.mark.parametrize(
    ("ingest", "next_", "told"),
    [
        (
            {"status": "accepted", "snapshot_uri": "s3://data-bucket/census/snapshots/x/", "trigger": "none"},
            "EvaluateDataQuality",
            "",
        ),
        (
            {
                "status": "accepted",
                "snapshot_uri": "s3://data-bucket/census/snapshots/x/",
                "trigger": "accepted",
                "reasons": ["z is empty"],
            },
            "EvaluateDataQuality",
            "raw files were left out: z is empty",
        ),
        (
            {
                "status": "accepted",
                "snapshot_uri": "s3://data-bucket/census/snapshots/x/",
                "trigger": "absent",
                "reasons": ["a.csv was deleted"],
            },
            "EvaluateDataQuality",
            "raw files were left out: a.csv was deleted",
        ),
        (
            {
                "status": "accepted",
                "snapshot_uri": "s3://data-bucket/census/snapshots/x/",
                "trigger": "rejected",
                "reasons": ["a.csv is empty", "z is empty"],
            },
            "ChooseQuarantine",
            "raw files were rejected: a.csv is empty; z is empty",
        ),
        ({"status": "rejected", "trigger": "none", "reasons": ["z is empty"]}, "ChooseQuarantine", "z is empty"),
        (
            {"status": "rejected", "trigger": "absent", "reasons": ["a.csv was deleted"]},
            "ChooseQuarantine",
            "a.csv was deleted",
        ),
        (["neither"], "FreeLocks", "has no status accepted or rejected"),
    ],
)
def test_refused_files_are_told(definition: Definition, evaluate: Any, ingest: Any, next_: str, told: str) -> None:
    """A run whose own file was refused is blocked, however good the others are; other refused files are told of."""
    state = definition["States"]["CheckIngest"]
    variables = {"ingest": ingest, "trigger": {"source": SOURCE}}
    chosen = next(
        (rule for rule in state["Choices"] if evaluate(rule["Condition"], variables=variables) is True),
        {"Next": state["Default"], "Assign": state["Assign"]},
    )
    assigned = evaluate(chosen["Assign"], variables=variables)
    assert chosen["Next"] == next_
    said = assigned.get("reason", "") + assigned.get("trouble", "")
    assert (said == "") == (told == "")
    assert told in said
    assert assigned.get("culprit", False) == (next_ == "ChooseQuarantine" and ingest["trigger"] == "rejected")


@pytest.mark.parametrize(
    ("keys", "trigger", "culprit", "told"),
    [
        ([SOURCE["key"]], "accepted", True, "failed its quality rules: age"),
        ([SOURCE["key"], "census/raw/z.csv"], "accepted", False, "newest first: census/raw/z.csv, census/raw/a.csv"),
        (["census/raw/z.csv"], "absent", False, "newest first: census/raw/z.csv"),
        ([SOURCE["key"]], "none", False, "newest first: census/raw/a.csv"),
        ([f"census/raw/{at:099}" for at in range(99)], "accepted", False, "newest first: census/raw/0"),
        (None, "accepted", False, "newest first: not known"),
    ],
)
def test_only_a_lone_file_is_blamed_for_the_data(
    definition: Definition, evaluate: Any, keys: Any, trigger: str, culprit: bool, told: str
) -> None:
    """Rules judge the whole snapshot, so that a file is to blame for sure only where it is the only one."""
    sources = {} if keys is None else {"sources": [{"key": key} for key in keys], "files": {"accepted": len(keys)}}
    variables = {
        "ingest": {"status": "accepted", "trigger": trigger, **sources},
        "trigger": {"source": SOURCE},
        "verdict": {"problem": "", "verdict": "block", "reasons": "age"},
    }
    found = evaluate(definition["States"]["GateData"]["Choices"][1]["Assign"], variables=variables)
    assert (culprit, "blocked") == (found["culprit"], found["outcome"])
    assert told in found["reason"]
    assert ("no file was moved" in found["reason"]) == (not culprit)
    assert len(found["reason"]) < 1700


def test_quarantine_names_one_version(definition: Definition, evaluate: Any) -> None:
    """The copy's source is that version, its key encoded as S3 asks, and the removal is conditional on its etag."""
    variables = {"runId": "run", "trigger": {"source": {**SOURCE, "key": "census/raw/2026/ä b+c.csv"}}}
    copy = evaluate(definition["States"]["Quarantine"]["Arguments"], variables=variables)
    assert copy["CopySource"] == "data-bucket/census/raw/2026/%C3%A4%20b%2Bc.csv?versionId=v1"
    assert copy["Key"] == "census/quarantine/run/2026/ä b+c.csv"
    remove = evaluate(definition["States"]["RemoveQuarantined"]["Arguments"], variables=variables)
    assert remove == {"Bucket": "data-bucket", "Key": "census/raw/2026/ä b+c.csv", "IfMatch": "e"}


def test_names_are_short_and_new_on_every_retry(definition: Definition, evaluate: Any) -> None:
    """Names fit SageMaker, and a retry asks for another one than the attempt before."""
    arguments = definition["States"]["CreateEndpointConfig"]["Arguments"]["EndpointConfigName"]
    names = {
        evaluate(
            arguments,
            variables={"id": "0123456789ab"},
            context={"Execution": EXECUTION, "State": {"RetryCount": retries}},
        )
        for retries in (0, 1)
    }
    assert names == {"dev-census-0123456789ab-00", "dev-census-0123456789ab-10"}
    longest = f"{'e' * 12}-{'p' * 24}-0123456789ab-999"
    assert len(longest) <= 63


@pytest.mark.parametrize(
    ("variants", "count"),
    [
        ([{"VariantName": "AllTraffic", "DesiredInstanceCount": 1, "CurrentInstanceCount": 1}], 2),
        ([{"VariantName": "AllTraffic", "DesiredInstanceCount": 5, "CurrentInstanceCount": 4}], 5),
        ([{"VariantName": "Another", "DesiredInstanceCount": 5}], 2),
        ([], 2),
        (None, 2),
    ],
)
def test_a_release_never_shrinks_an_endpoint(
    scaled_setting: Any, scaled_definition: Definition, evaluate: Any, variants: Any, count: int
) -> None:
    """The new fleet is as large as what serves, and at least as configured, for a canary needs two instances."""
    states = scaled_definition["States"]
    answer = {"EndpointConfigName": "old", "EndpointStatus": "InService"}
    answer |= {} if variants is None else {"ProductionVariants": variants}
    preflight: Any = preflight_definition(scaled_setting)
    branches = preflight["States"]["CheckAll"]["Branches"]
    read = evaluate(branches[-1]["States"]["ReadEndpoint"]["Output"], given={"champion": ""}, result=answer)
    read = evaluate(states["CanRelease"]["Choices"][1]["Assign"], variables={"preflight": read})
    (variant,) = states["CreateEndpointConfig"]["Arguments"]["ProductionVariants"]
    found = evaluate(variant["InitialInstanceCount"], variables=read)
    assert (count, int) == (found, type(found))


def test_a_new_endpoint_is_as_large_as_configured(scaled_definition: Definition, evaluate: Any) -> None:
    """Where nothing serves yet the configured number of instances is all there is to go by."""
    states = scaled_definition["States"]
    found = {"liveCount": 0}
    (variant,) = states["CreateEndpointConfig"]["Arguments"]["ProductionVariants"]
    assert 2 == evaluate(variant["InitialInstanceCount"], variables=found)


def test_the_way_back_never_asks_the_alarms(definition: Definition, evaluate: Any) -> None:
    """An update is guarded by the alarms; a way back is not, for they may ring for the model that goes."""
    update = definition["States"]["UpdateEndpoint"]["Arguments"]
    guarded, back = (
        evaluate(update["DeploymentConfig"], variables={"trigger": {"reason": reason}})
        for reason in ("data", "rollback")
    )
    alarms = [{"AlarmName": "errors"}, {"AlarmName": "latency"}]
    assert {"Alarms": alarms} == guarded["AutoRollbackConfiguration"]
    assert {"BlueGreenUpdatePolicy"} == set(back)
    assert "ALL_AT_ONCE" == back["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"]
    assert update["RetainAllVariantProperties"] is True
    capture, count = ({"VariantPropertyType": kind} for kind in ("DataCaptureConfig", "DesiredInstanceCount"))
    asked = update["ExcludeRetainedVariantProperties"]
    for live, now, retained in ((1, 0, False), (1, 1, False), (3, 3, False), (1, 2, True), (3, 4, True)):
        taken = evaluate(asked, variables={"liveCount": live, "endpoint": {"count": now}})
        assert taken == ([capture] if retained else [capture, count]), "instances that came meanwhile stay"
    back = definition["States"]["RollBack"]["Arguments"]
    assert back["ExcludeRetainedVariantProperties"] == [{"VariantPropertyType": "DataCaptureConfig"}]
    assert "AutoRollbackConfiguration" not in definition["States"]["RollBack"]["Arguments"]["DeploymentConfig"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"Error": "States.Timeout"}, "Here failed with States.Timeout"),
        ({"Error": "E", "Cause": "plain"}, "Here failed with E: plain"),
        ({"Error": "E", "Cause": '{"ErrorMessage":"a \\"b\\" c","JobRunState":"FAILED"}'}, 'E: a \\"b\\" c'),
        ({"Error": "E", "Cause": '{"FailureReason": "because"}'}, "Here failed with E: because"),
        ({"Error": "E", "Cause": '{"FailureReason": "one", "ErrorMessage": "two"}'}, "Here failed with E: one"),
        ({"Error": "E", "Cause": '{"FailureReason": "See logs", "ExitMessage": "no age"}'}, "failed with E: no age"),
        ({"Error": "E", "Cause": '{"ExitMessage": "no age", "FailureReason": "See logs"}'}, "failed with E: no age"),
        ({"Error": "E", "Cause": "{broken"}, "Here failed with E: {broken"),
        ({"Error": "E", "Cause": "x" * 40_000}, "x" * 1500),
    ],
)
def test_failures_are_told(evaluate: Any, error: dict[str, str], reason: str) -> None:
    """A caught error becomes the state's name and the job's own message, with or without a cause."""
    assign = FAILED["Assign"]
    assert isinstance(assign, dict)
    found = evaluate(assign, error=error)
    assert (found["outcome"], found["failedState"]) == ("failed", "Here")
    assert found["reason"].endswith(reason)
    assert len(found["reason"]) < 1600


def test_approvers_are_asked(definition: Definition, evaluate: Any) -> None:
    """Before it waits, a run tells people which model waits for them, how good it is, until when, and what to call."""
    states = definition["States"]
    assert ("AskForApproval", "AwaitApproval") == (
        next(c["Next"] for c in states["FreeLocks"]["Choices"] if c["Condition"] == "{% $outcome = '' %}"),
        states["AskForApproval"]["Next"],
    )
    package = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/dev-census/7"
    asked = evaluate(
        states["AskForApproval"]["Arguments"],
        variables={
            "packageArn": package,
            "runId": "run",
            "trigger": {"reason": "data", "detail": ""},
            "evaluation": {
                "metrics": {"auc": {"value": 0.92}, "accuracy": {"value": 0.87}},
                "champion": {"metrics": {"auc": 0.91234}, "sentence": "It is better."},
                "folder": "census/e/1/",
            },
        },
    )
    assert "census in dev: a model waits for approval" == asked["Subject"]
    for told in (
        f"Package: {package}",
        "Run: run, started for reason data\n",
        "  auc 0.92 (champion 0.9123)\n  accuracy 0.87\nIt is better.\n",
        "s3://artifact-bucket/census/e/1/report.html",
        "Decide within 3 days",
        f'dual-pipeline approve {package} --env dev --project census --because "WHY"',
        f"aws sagemaker update-model-package --model-package-arn {package} --model-approval-status Approved",
    ):
        assert told in asked["Message"]


def test_a_policy_that_approves_asks_nobody(setting: Setting) -> None:
    """Where the policy approves at registration nobody is asked."""
    project = replace(setting.project, approval=Approval(mode="auto"))
    states: Any = outer_loop_definition(replace(setting, project=project))["States"]
    assert "AwaitApproval" in [choice["Next"] for choice in states["FreeLocks"]["Choices"]]
    assert "AskForApproval" not in states


def test_only_what_changes_nothing_is_kept_from_people(definition: Definition) -> None:
    """A duplicate and a trigger that waits for the run that is on are recorded; every other outcome is told as well."""
    states = definition["States"]
    branches = [
        (name, branch["Assign"])
        for name, state in states.items()
        for branch in [state, *state.get("Catch", []), *state.get("Choices", [])]
        if "outcome" in branch.get("Assign", {})
    ]
    quiet = sorted({name for name, assigned in branches if assigned.get("quiet") is True})
    assert ["CheckInput", "ChooseRefusal", "ClaimEvent", "LeavePending", "Postpone", "PutOff"] == quiet
    # Of those that the cap puts off, whoever makes the schedule tells.
    assert states["ScheduleTrailing"]["Assign"] == {"quiet": "{% $not($telling) %}"}
    assert states["PutOff"]["Assign"]["telling"] is True
    assert {"suppressed"} == {assigned["outcome"] for _, assigned in branches if assigned.get("quiet") is True}
    assert states["CheckInput"]["Assign"]["quiet"] is False
    quietly, failed = states["IsAnybodyTold"]["Choices"]
    assert ("{% $quiet %}", "Ended") == (quietly["Condition"], quietly["Next"])
    assert ("{% $outcome = 'failed' %}", "NotifyFailed") == (failed["Condition"], failed["Next"])
    assert states["Notify"]["Output"] == quietly["Output"] == states["Notify"]["Catch"][0]["Output"]
    assert (True, "Ended") == (states["Notify"]["End"], states["Notify"]["Catch"][0]["Next"])
    assert "Failed" == states["NotifyFailed"]["Next"] == states["NotifyFailed"]["Catch"][0]["Next"]


def test_a_models_alarm_looks_at_that_model_alone(definition: Definition, evaluate: Any) -> None:
    """What its predecessor's answers were worth is published by another run."""
    alarm = definition["States"]["SetAlarms"]["Arguments"]
    dimensions = evaluate(alarm["Dimensions"], variables={"runId": "run-8"})
    assert [*KEYS, {"Name": "Run", "Value": "run-8"}] == dimensions


def test_the_transaction_token_fits(definition: Definition, evaluate: Any) -> None:
    """The commit's idempotency token has at most 36 characters and is the same on every attempt."""
    field = definition["States"]["CommitRelease"]["Arguments"]["ClientRequestToken"]
    tokens = {evaluate(field, variables={"me": "arn"}) for _ in range(2)}
    assert len(tokens) == 1
    assert re.fullmatch(r"[0-9a-f]{36}", tokens.pop())


@pytest.mark.parametrize(
    "cause", ["", "plain words", '{"FailureReason": "a \\"quoted\\" word"}', '{"FailureReason": "cut']
)
def test_causes(evaluate: Any, cause: str) -> None:
    """A job's own words are taken out of its description, whatever else is kept as it is."""
    told = evaluate(jsonata(CAUSE_TEXT), error={"Error": "E", "Cause": cause}, context={"State": {"Name": "S"}})
    own = {'{"FailureReason": "a \\"quoted\\" word"}': 'a \\"quoted\\" word'}.get(cause, cause)
    assert told == f"S failed with E: {own}"


@given(st.text(alphabet='\\\\"a', min_size=20, max_size=400))
@hypothesis.settings(deadline=1000, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_no_cause_takes_long(evaluate: Any, words: str) -> None:
    """A description that AWS cut in the middle of its words is read in no time: a Catch cannot catch its own failure."""
    cause = '{"FailureReason": "' + words
    told = evaluate(jsonata(CAUSE_TEXT), error={"Error": "E", "Cause": cause}, context={"State": {"Name": "S"}})
    assert told.startswith("S failed with E")


METRICS = {"auc": {"value": 0.92, "standard_deviation": 0.002}, "log_loss": {"value": 0.3}}
KEYS = [{"Name": "Environment", "Value": "dev"}, {"Name": "Project", "Value": "census"}]


def counted(definition: Definition, evaluate: Any, **variables: Any) -> list[dict[str, Any]]:
    known = {"outcome": "released", "snapshotUri": "", "evaluation": {}, "trigger": {"reason": "data"}, **variables}
    request = definition["States"]["CountOutcome"]["Arguments"]
    data: list[dict[str, Any]] = evaluate(request, variables=known)["MetricData"]
    assert "DualPipeline" == request["Namespace"]
    return data


@pytest.mark.parametrize(
    ("outcome", "name"), [("released", "ModelMetric"), ("below-gate", "RefusedModelMetric"), ("rejected", "")]
)
def test_what_is_counted(definition: Definition, evaluate: Any, outcome: str, name: str) -> None:
    """One request holds the outcome, and what the evaluation measured under a name that says whether it serves."""
    data = counted(definition, evaluate, outcome=outcome, evaluation={"metrics": METRICS})
    assert {
        "MetricName": "Outcome",
        "Dimensions": [*KEYS, {"Name": "Outcome", "Value": outcome}],
        "Value": 1,
        "Unit": "Count",
    } == data[0]
    measured = [
        {"MetricName": name, "Dimensions": [*KEYS, {"Name": "Metric", "Value": metric}], "Value": value, "Unit": "None"}
        for metric, value in (("auc", 0.92), ("log_loss", 0.3))
    ]
    assert (measured if name else []) == data[2:]


@pytest.mark.parametrize(
    ("outcome", "snapshot", "value"),
    [
        ("released", "s3://data-bucket/census/snapshots/1/", 1),
        ("suppressed", "s3://data-bucket/census/snapshots/1/", 1),
        ("suppressed", "", 0),
        ("below-gate", "s3://data-bucket/census/snapshots/1/", 0),
        ("failed", "s3://data-bucket/census/snapshots/1/", 0),
    ],
)
def test_what_is_up_to_date(definition: Definition, evaluate: Any, outcome: str, snapshot: str, value: int) -> None:
    """Only a release, and a run that read the data and found nothing new, leave nothing waiting."""
    data = counted(definition, evaluate, outcome=outcome, snapshotUri=snapshot)
    assert {"MetricName": "UpToDate", "Dimensions": KEYS, "Value": value, "Unit": "Count"} == data[1]


def test_going_back_is_no_news(definition: Definition, evaluate: Any) -> None:
    """A rollback must not keep the alarm on a quiet loop from ringing."""
    data = counted(definition, evaluate, snapshotUri="s3://x/", trigger={"reason": "rollback"})
    assert 0 == data[1]["Value"]


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ({}, []),
        ({"auc": {"value": 0.9}}, ["auc"]),
        ({"auc": {"value": "high"}, "größe": {"value": 1}, "a b": {"value": 1}, "f1": {"value": 1}}, ["f1"]),
        ({f"m{number:02}": {"value": number} for number in range(30)}, [f"m{number:02}" for number in range(20)]),
    ],
)
def test_odd_measurements_lose_no_outcome(
    definition: Definition, evaluate: Any, metrics: Any, names: list[str]
) -> None:
    """What CloudWatch would refuse the whole request for is left out, and so are more than twenty."""
    data = counted(definition, evaluate, evaluation={"metrics": metrics})
    assert ["Outcome", "UpToDate", *["ModelMetric"] * len(names)] == [each["MetricName"] for each in data]
    assert names == [each["Dimensions"][-1]["Value"] for each in data[2:]]


def test_a_run_without_evaluation_is_counted(alone_definition: Definition, evaluate: Any) -> None:
    """Neither a missing evaluation nor one without metrics keeps the outcome from being counted."""
    for evaluation in ({}, {"metrics": None}):
        data = counted(alone_definition, evaluate, evaluation=evaluation)
        assert ["Outcome", "UpToDate"] == [each["MetricName"] for each in data]
