"""Every alarm of the templates rings and falls silent, on numbers as the services publish them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dual_pipeline.instance_types import virtual_cpus
from dual_pipeline_local.alarm_evaluation import ALARM, OK, check, evaluate
from dual_pipeline_local.metric_store import Metric, MetricStore
from environments import ENVIRONMENTS
from synthesis import BATCH, LEAST, MOST, WITHOUT_INNER_LOOP, Synthesis, joined

pytestmark = pytest.mark.xdist_group("synthesis")

STAGES = {each.name.capitalize(): each for each in (*ENVIRONMENTS, LEAST, MOST, BATCH, WITHOUT_INNER_LOOP)}
MONITORING = Path(__file__).parents[3] / "docs" / "monitoring.md"
Samples = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a service publishes in a minute, in `unit`, under `dimensions`: of one that is well, and of one that is not.

    Where nothing is published while all is well, `well` is empty. Use of processors is of all of them together.
    """

    unit: str
    dimensions: tuple[str, ...]
    well: Samples
    ill: Samples
    source: str


_SAGEMAKER = "https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html"
_STATES = "https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html"
_SQS = (
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"
)
_OURS = "docs/monitoring.md"
_VARIANT = ("EndpointName", "VariantName")


def _share(bad: int) -> Samples:
    """A hundred requests, of which `bad` count as errors: each request sends one 0 or 1."""
    return [1.0] * bad + [0.0] * (100 - bad)


def _answers(*, usual_us: float, slowest_us: float) -> Samples:
    """A hundred answers, of which the slowest two take longer, in microseconds."""
    return [usual_us] * 98 + [slowest_us] * 2


PUBLISHED: Mapping[tuple[str, str], Published] = {
    ("AWS/SageMaker", "Invocation5XXErrors"): Published(
        unit="None", dimensions=_VARIANT, well=_share(0), ill=_share(5), source=_SAGEMAKER
    ),
    ("AWS/SageMaker", "Invocation4XXErrors"): Published(
        unit="None", dimensions=_VARIANT, well=_share(5), ill=_share(20), source=_SAGEMAKER
    ),
    ("AWS/SageMaker", "ModelLatency"): Published(
        unit="Microseconds",
        dimensions=_VARIANT,
        well=_answers(usual_us=20_000, slowest_us=450_000),
        ill=_answers(usual_us=20_000, slowest_us=550_000),
        source=_SAGEMAKER,
    ),
    ("AWS/SageMaker", "OverheadLatency"): Published(
        unit="Microseconds",
        dimensions=_VARIANT,
        well=_answers(usual_us=3_000, slowest_us=900_000),
        ill=_answers(usual_us=3_000, slowest_us=1_100_000),
        source=_SAGEMAKER,
    ),
    ("AWS/SageMaker", "Invocations"): Published(
        unit="None", dimensions=_VARIANT, well=[1.0] * 100, ill=[], source=_SAGEMAKER
    ),
    ("/aws/sagemaker/Endpoints", "CPUUtilization"): Published(
        unit="Percent", dimensions=_VARIANT, well=[80], ill=[97], source=_SAGEMAKER
    ),
    ("/aws/sagemaker/Endpoints", "MemoryUtilization"): Published(
        unit="Percent", dimensions=_VARIANT, well=[80], ill=[97], source=_SAGEMAKER
    ),
    **{
        ("AWS/States", name): Published(unit="Count", dimensions=("StateMachineArn",), well=[], ill=[1], source=_STATES)
        for name in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled")
    },
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): Published(
        unit="Count", dimensions=("QueueName",), well=[0], ill=[1], source=_SQS
    ),
    ("DualPipeline", "Outcome"): Published(
        unit="Count", dimensions=("Environment", "Project", "Outcome"), well=[], ill=[1], source=_OURS
    ),
    ("DualPipeline", "DriftFindings"): Published(
        unit="None", dimensions=("Environment", "Project"), well=[0], ill=[1], source=_OURS
    ),
    ("DualPipeline", "UpToDate"): Published(
        unit="Count", dimensions=("Environment", "Project"), well=[1], ill=[0], source=_OURS
    ),
}
# Published as the sum over processors, each of which counts to 100 %.
_PER_PROCESSOR = {("/aws/sagemaker/Endpoints", "CPUUtilization")}


def _alarms(synthesis: Synthesis) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, alarm in synthesis.resources("AWS::CloudWatch::Alarm").items():
        yield path, alarm["Properties"]


class Watched:
    """One alarm, with a store of its own in which time goes on as it is published to."""

    def __init__(self, stage: str, alarm: Mapping[str, Any]) -> None:
        key = (alarm["Namespace"], alarm["MetricName"])
        assert key in PUBLISHED, f"say in PUBLISHED what {key} looks like when all is well and when it is not"
        self.published = PUBLISHED[key]
        dimensions = {each["Name"]: json.dumps(each["Value"]) for each in alarm["Dimensions"]}
        assert set(self.published.dimensions) == set(dimensions)
        self.alarm = {**alarm, "StateValue": OK, "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions.items()]}
        check(self.alarm)
        cpus = virtual_cpus(STAGES[stage].projects[0].instances.endpoint)
        self._factor = cpus if key in _PER_PROCESSOR else 1
        self._metric = Metric.of(*key, dimensions)
        self._store, self._now = MetricStore(), 1_700_006_400
        self._step = 60 if alarm["Period"] < 3600 else alarm["Period"]
        self._span = alarm["Period"] * (alarm["EvaluationPeriods"] + 3)

    def after(self, samples: Samples) -> str:
        """The state when these samples have come once in each step, long enough for nothing else to be seen."""
        for _ in range(self._span // self._step):
            values = [(sample * self._factor, 1.0) for sample in samples]
            if values:
                self._store.add(self._metric, self.published.unit, self._now, values)
            self._now += self._step
        return evaluate(self.alarm, self._store, self._now).state


@pytest.fixture(scope="module")
def watch(synthesis: Synthesis) -> Callable[[], Iterator[tuple[str, Watched]]]:
    """Every alarm of every stage, with the path of its resource."""
    return lambda: ((path, Watched(path.partition("/")[0], alarm)) for path, alarm in _alarms(synthesis))


def test_every_alarm_rings_and_falls_silent(watch: Callable[[], Iterator[tuple[str, Watched]]]) -> None:
    """Numbers of a service that is well leave it silent, those of one that is not make it ring, then it clears."""
    seen = set()
    for path, watched in watch():
        published = watched.published
        assert OK == watched.after(published.well), path
        assert ALARM == watched.after(published.ill), path
        assert OK == watched.after(published.well), path
        seen.add((watched.alarm["Namespace"], watched.alarm["MetricName"]))
    assert set(PUBLISHED) == seen


def test_silence_rings_only_where_it_is_what_is_feared(watch: Callable[[], Iterator[tuple[str, Watched]]]) -> None:
    """Without any data every alarm is silent, but for those on requests that stop and on a loop gone quiet."""
    rings = {watched.alarm["MetricName"] for _, watched in watch() if watched.after([]) == ALARM}
    assert {"Invocations", "UpToDate"} == rings


def test_one_full_day_keeps_a_loop_from_being_quiet(watch: Callable[[], Iterator[tuple[str, Watched]]]) -> None:
    """One run that found nothing new in seven days is enough, however many others failed."""
    for path, watched in watch():
        if watched.alarm["MetricName"] == "UpToDate":
            assert ALARM == watched.after([0, 0]), path
            watched._span = watched.alarm["Period"]
            assert OK == watched.after([0, 1, 0]), path


def test_a_bad_canary_makes_the_rollback_alarms_ring(watch: Callable[[], Iterator[tuple[str, Watched]]]) -> None:
    """They see the whole traffic: answers of a first share of which all are errors, or slow, are enough."""
    found = 0
    for path, watched in watch():
        project = STAGES[path.partition("/")[0]].projects[0]
        share = project.rollout.canary_percent
        ill = {
            "Invocation5XXErrors": _share(share),
            "ModelLatency": [20_000.0] * (100 - share) + [2_000_000.0] * share,
        }.get(watched.alarm["MetricName"])
        if ill is not None and project.rollout.strategy == "canary":
            found += 1
            assert OK == watched.after(watched.published.well), path
            watched._span = 120
            assert ALARM == watched.after(ill), path
    assert found


def test_units_are_not_filtered(synthesis: Synthesis) -> None:
    """No alarm names a unit: one that the service does not publish would never find a datapoint."""
    assert not [path for path, alarm in _alarms(synthesis) if "Unit" in alarm]


def test_names_are_constant_and_differ(synthesis: Synthesis) -> None:
    """Every alarm has a name that begins with its environment's, and no two of a stage share one."""
    for stage, environment in STAGES.items():
        names = [alarm["AlarmName"] for path, alarm in _alarms(synthesis) if path.startswith(f"{stage}/")]
        assert names
        assert len(set(names)) == len(names)
        assert all(isinstance(name, str) and name.startswith(f"{environment.name}-") for name in names)


def test_people_hear_when_a_lasting_state_is_over(synthesis: Synthesis) -> None:
    """Alarms on endpoints and on quiet loops tell the topic both ways; one that reports an event rings only."""
    for path, alarm in _alarms(synthesis):
        lasts = alarm["Namespace"] in ("AWS/SageMaker", "/aws/sagemaker/Endpoints") or alarm["MetricName"] == "UpToDate"
        assert (alarm["AlarmActions"] if lasts else None) == alarm.get("OKActions"), path


def test_every_alarm_is_in_the_table(synthesis: Synthesis) -> None:
    """docs/monitoring.md lists the alarms of environment dev by name, and no others but those it calls optional."""
    listed: set[str] = set()
    for cells in re.findall(r"^\| (`[^|]+) \| (?:CDK|the loop)", MONITORING.read_text(), flags=re.MULTILINE):
        first, *more = re.findall(r"`([^`]+)`", cells)
        listed |= {first, *(first.removesuffix("-failed") + each for each in more)}
    names = {alarm["AlarmName"] for path, alarm in _alarms(synthesis) if path.startswith("Dev/")}
    throttled = {name for name in names if name.endswith("-throttled")}
    optional = {name for name in listed if "<" in name} | {"dev-census-no-requests", "dev-census-model-auc"}
    assert {"<machine>-throttled"} <= listed
    assert names - throttled == listed - optional


def test_thresholds_come_from_the_settings(synthesis: Synthesis) -> None:
    """Latencies are microseconds, rates shares of one, processors counted by the endpoint's own instance type."""
    found = {
        alarm["AlarmName"]: alarm["Threshold"]
        for path, alarm in _alarms(synthesis)
        if path.startswith("Prod/") and alarm["Namespace"] in ("AWS/SageMaker", "/aws/sagemaker/Endpoints")
    }
    assert {
        "prod-census-5xx-rate": 0.01,
        "prod-census-p99-latency": 500_000,
        "prod-census-4xx-rate": 0.1,
        "prod-census-p99-overhead": 1_000_000,
        "prod-census-cpu": 360,
        "prod-census-memory": 90,
    } == found


def test_descriptions_are_whole_sentences(synthesis: Synthesis) -> None:
    """What an alarm says fits CloudWatch's 1,024 characters and has no token in it."""
    for path, alarm in _alarms(synthesis):
        description = alarm["AlarmDescription"]
        assert description == joined(description), path
        assert len(description) <= 1024, path
