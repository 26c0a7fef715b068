"""The local run from the outside, as a person has it: both loops, mistakes, and nothing left behind.

One emulator with `dev` deployed serves most tests; each of them adds a run or two. The shell that starts everything is
poisoned: it holds credentials, a profile and an endpoint that nothing may ever read or use.
"""

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import psutil
import pytest

from dual_pipeline.loop_contract import OUTCOMES
from dual_pipeline_local.server import UNMAPPED_PATH
from local_shell import CENSUS, COMMIT, ROOT, SECRET, Shell, deployed, synthesized

pytestmark = [
    pytest.mark.local,
    pytest.mark.spark,
    pytest.mark.xdist_group("local-run"),
    pytest.mark.timeout(600),
]

Rows = list[list[str]]


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dev`, synthesized once for this module."""
    return synthesized(tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, assembly: Path) -> Iterator[Shell]:
    """A local AWS with `dev` deployed from the unmodified assembly."""
    with deployed(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("checkout"), assembly) as shell:
        yield shell


@pytest.fixture(scope="module")
def first(shell: Shell) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The first release."""
    return shell.release()


def _processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that were started for a workplace."""
    found = []
    for process in psutil.process_iter():
        try:
            text = " ".join([*process.cmdline(), process.cwd(), *process.environ().values()])
        except psutil.Error:
            continue
        if str(folder) in text and process.pid != os.getpid():
            found.append(process)
    return found


def _gone(folder: Path, *, within_s: float = 20) -> list[psutil.Process]:
    deadline = time.monotonic() + within_s
    while (left := _processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def test_first_run_releases(first: tuple[subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    """A run of dev ends released; summary.json holds the whole run in the promised form."""
    ended, summary = first
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "released" == summary["outcome"]
    assert {
        "outcome": str,
        "reason": str,
        "environment": str,
        "project": str,
        "template_sha256": str,
        "templates": dict,
        "execution_arn": str,
        "duration_s": float,
        "state_transitions": int,
        "states": list,
        "steps": list,
        "quality_engine": str,
        "metrics": dict,
        "baseline": dict,
        "champion": str,
        "tuning": dict,
        "warnings": list,
        "model_package_arn": str,
        "endpoint_name": str,
        "prediction": dict,
        "peak_memory_mb": int,
    } == {name: type(value) for name, value in summary.items()}
    assert all({"name", "status", "duration_s"} == set(state) for state in summary["states"])
    assert all({"name", "type", "status", "duration_s"} == set(step) for step in summary["steps"])
    assert {state["status"] for state in summary["states"]} <= {"succeeded", "caught"}
    expected = {"CheckParameters", "Preprocess", "Train", "Tune", "Baseline", "Evaluate", "Gate", "Register"}
    assert expected == {step["name"] for step in summary["steps"]}
    assert {"Succeeded"} == {step["status"] for step in summary["steps"]}
    assert "dev-census" == summary["endpoint_name"]
    assert len(summary["states"]) <= summary["state_transitions"] <= 70
    assert summary["peak_memory_mb"] <= 4096
    assert summary["metrics"]["auc"] > max(0.9, summary["baseline"]["auc"])
    assert {"input", "output"} == set(summary["prediction"])
    assert all(0 <= value <= 1 for value in summary["prediction"]["output"]["predictions"])


def test_templates_are_deployed_as_they_are(
    first: tuple[subprocess.CompletedProcess[str], dict[str, Any]], assembly: Path
) -> None:
    """The hash told is that of the files of the cloud assembly, one after another."""
    _, summary = first
    files = sorted((assembly / "assembly-Dev").glob("*.template.json"))
    assert hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() == summary["template_sha256"]
    assert {hashlib.sha256(file.read_bytes()).hexdigest() for file in files} == set(summary["templates"].values())


def test_every_call_was_authorized(
    shell: Shell, first: tuple[subprocess.CompletedProcess[str], dict[str, Any]]
) -> None:
    """IAM was asked about each call of the deployment and the run."""
    url = shell.aws.settings.endpoint_url + UNMAPPED_PATH
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as response:
        assert {"unmapped": []} == json.load(response)


def test_endpoint_answers_as_the_summary_says(
    shell: Shell, first: tuple[subprocess.CompletedProcess[str], dict[str, Any]]
) -> None:
    """The prediction of the summary can be had again with plain boto3."""
    _, summary = first
    answer = shell.aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=summary["endpoint_name"], ContentType="text/csv", Body=summary["prediction"]["input"]
    )
    assert summary["prediction"]["output"] == json.loads(answer["Body"].read())


@pytest.mark.usefixtures("first")
def test_a_step_of_the_run_gives_the_same_again(shell: Shell) -> None:
    """`step evaluate` runs on what the run left on disk, and each of its files comes out the same."""
    told = shell.told("step", "evaluate")
    assert "Evaluate succeeded in" in told
    assert told.count(" same ") >= 4
    assert not {"differs", "new", "missing"} & set(told.split())


def test_lineage_of_the_endpoint(shell: Shell, first: tuple[subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    """`lineage` leads from the endpoint to run, snapshot, commit and code that is still there."""
    _, summary = first
    lineage = json.loads(shell.told("lineage", "--local", "--json"))
    assert summary["model_package_arn"] == lineage["model"]["package"]
    assert summary["execution_arn"].rpartition(":")[2] == lineage["run"]["run id"]
    s3, deployment = shell.aws.client("s3"), shell.deployment
    bucket, _, key = lineage["data"]["snapshot"].removeprefix("s3://").partition("/")
    manifest = s3.get_object(Bucket=bucket, Key=f"{key}manifest.json")["Body"].read()
    assert hashlib.sha256(manifest).hexdigest() == lineage["data"]["manifest sha256"]
    definition = (ROOT / "pipeline_code" / "census" / "definition.json").read_bytes()
    assert (COMMIT, hashlib.sha256(definition).hexdigest()) == (
        lineage["code"]["commit"],
        lineage["code"]["definition_hash"],
    )
    files = [file for name, file in lineage["code"].items() if name.startswith("code_")]
    assert len(files) == 4
    for file in (*files, f"{lineage['code']['definition_hash']}.json"):
        s3.head_object(Bucket=deployment["ArtifactBucketName"], Key=f"census/code/{file}")
    assert ["champion"] == [change["what"] for change in lineage["today"]], "the model itself is the champion now"


def test_a_replay_of_the_run_gives_the_same_bytes(
    shell: Shell, first: tuple[subprocess.CompletedProcess[str], dict[str, Any]]
) -> None:
    """`replay` repeats every job of the first run and finds all files the same."""
    _, summary = first
    told = shell.told("replay", summary["execution_arn"].rpartition(":")[2], "--local")
    assert "files are the same" in told
    for step in ("Preprocess", "Train", "Tune", "Baseline", "Evaluate"):
        assert step in told


@pytest.mark.usefixtures("first")
def test_second_run_updates_the_endpoint(shell: Shell) -> None:
    """A second release takes the update path, and takes from the cache what `plan` foretold: all but the comparison."""
    sagemaker = shell.aws.client("sagemaker")
    plan = json.loads(shell.told("plan", "--local", "--json"))
    foretold = {step["name"]: step["cache"] == "hit" for step in plan["steps"]}
    assert {"Preprocess": True, "Train": True, "Tune": True, "Baseline": True, "Evaluate": False} == foretold
    before = sagemaker.describe_endpoint(EndpointName="dev-census")
    same, nothing = shell.release()
    assert (1, "suppressed") == (same.returncode, nothing["outcome"])
    assert "nothing to do: run" in nothing["reason"]
    ended, summary = shell.release(force=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    after = sagemaker.describe_endpoint(EndpointName="dev-census")
    assert "UpdateEndpoint" in [state["name"] for state in summary["states"]]
    assert before["CreationTime"] == after["CreationTime"]
    assert before["EndpointConfigName"] != after["EndpointConfigName"]
    assert ("InService", True) == (after["EndpointStatus"], summary["model_package_arn"].endswith("/2"))
    ran = sagemaker.list_pipeline_executions(PipelineName="dev-census")["PipelineExecutionSummaries"][0]
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=ran["PipelineExecutionArn"])
    hits = {step["StepName"]: "CacheHitResult" in step for step in steps["PipelineExecutionSteps"]}
    assert foretold == {name: hits[name] for name in foretold}
    assert summary["state_transitions"] <= 70


@pytest.mark.usefixtures("first")
def test_an_operator_needs_one_policy(shell: Shell) -> None:
    """Who holds the operators' policy alone starts a run, follows it to its end and explains it."""
    iam = shell.aws.client("iam")
    policies = iam.list_policies(Scope="Local")["Policies"]
    (policy,) = [each["Arn"] for each in policies if "Operators" in each["PolicyName"]]
    iam.create_user(UserName="Olga")
    iam.attach_user_policy(UserName="Olga", PolicyArn=policy)
    key = iam.create_access_key(UserName="Olga")["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def tell(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dual_pipeline_cli", *arguments],
            cwd=ROOT,
            env={**os.environ, **shell.aws.settings.endpoint_environment(), **credentials, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    _lift_daily_cap(shell)
    started = tell("start", "--because", "on call", "--follow")
    assert (0, True) == (started.returncode, "suppressed: nothing to do: run" in started.stdout), started
    explained = tell("explain", "--runs", "3")
    assert (0, True) == (explained.returncode, "on call" in explained.stdout), explained
    rolled_back = tell("rollback", "99", "--because", "no such version")
    assert (2, True) == (rolled_back.returncode, "99" in rolled_back.stderr), rolled_back


@pytest.mark.usefixtures("first")
def test_step_that_raises_is_explained(shell: Shell, tmp_path: Path) -> None:
    """A script that raises ends the run failed, naming state, step, exception and the log's last lines."""
    aws, s3 = shell.aws, shell.aws.client("s3")
    execution = aws.client("sagemaker").list_pipeline_executions(PipelineName="dev-census")
    steps = aws.client("sagemaker").list_pipeline_execution_steps(
        PipelineExecutionArn=execution["PipelineExecutionSummaries"][0]["PipelineExecutionArn"]
    )["PipelineExecutionSteps"]
    (job,) = (step["Metadata"]["ProcessingJob"]["Arn"] for step in steps if step["StepName"] == "Evaluate")
    described = aws.client("sagemaker").describe_processing_job(ProcessingJobName=job.rpartition("/")[2])
    (code,) = (
        item["S3Input"]["S3Uri"] for item in described["ProcessingInputs"] if item["S3Input"]["S3Uri"].endswith(".zip")
    )
    bucket, _, key = code.removeprefix("s3://").partition("/")
    good = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    broken = tmp_path / "broken.zip"
    with ZipFile(broken, "w") as bundle:
        bundle.writestr("__main__.py", "print('reading the model')\nraise ValueError('the holdout is upside down')\n")
    s3.put_object(Bucket=bucket, Key=key, Body=broken.read_bytes())
    try:
        ended, summary = shell.release(force=True)
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=good)
    assert 1 == ended.returncode
    assert "failed" == summary["outcome"]
    assert ("AwaitTraining", "Evaluate", "ValueError: the holdout is upside down") == (
        summary["failure"]["state"],
        summary["failure"]["step"],
        summary["failure"]["exception"],
    )
    assert "reading the model" in summary["failure"]["log_tail"]
    for said in ("AwaitTraining", "Evaluate", "ValueError: the holdout is upside down", "reading the model"):
        assert said in ended.stdout
    assert "dual_pipeline_local" not in ended.stdout + ended.stderr


@pytest.mark.long
@pytest.mark.usefixtures("first")
def test_shuffled_labels_are_refused_by_the_gate(shell: Shell, tmp_path: Path) -> None:
    """Labels without meaning bring AUC to 0.5, and the gate keeps the model from being registered."""
    header, *rows = _rows(CENSUS)
    place = header.index("loan")
    labels = [row[place] for row in rows]
    random.Random(7).shuffle(labels)
    data = _write(
        tmp_path, [header, *([*row[:place], label, *row[place + 1 :]] for row, label in zip(rows, labels, strict=True))]
    )
    ended, summary = shell.release(data)
    assert (1, "below-gate", None) == (ended.returncode, summary["outcome"], summary["model_package_arn"])
    assert "auc" in summary["reason"]
    assert "Register" not in [step["name"] for step in summary["steps"]]


def _rows(path: Path) -> Rows:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def _write(folder: Path, rows: Rows, *, delimiter: str = ",") -> Path:
    path = folder / "census.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)
    return path


def _header_only(folder: Path, rows: Rows) -> Path:
    return _write(folder, rows[:1])


def _renamed_column(folder: Path, rows: Rows) -> Path:
    return _write(folder, [["years" if name == "age" else name for name in rows[0]], *rows[1:2000]])


def _binary(folder: Path, _: Rows) -> Path:
    path = folder / "census.csv"
    path.write_bytes(random.Random(1).randbytes(200_000))
    return path


def _wrong_delimiter(folder: Path, rows: Rows) -> Path:
    return _write(folder, rows[:2000], delimiter=";")


def _one_class(folder: Path, rows: Rows) -> Path:
    place = rows[0].index("loan")
    return _write(folder, [rows[0], *(row for row in rows[1:] if row[place].strip() == "<=50K")])


@pytest.mark.parametrize(
    "damage",
    [
        _renamed_column,
        pytest.param(_header_only, marks=pytest.mark.long),
        pytest.param(_binary, marks=pytest.mark.long),
        pytest.param(_wrong_delimiter, marks=pytest.mark.long),
        pytest.param(_one_class, marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("first")
def test_bad_data_is_blocked_and_kept(shell: Shell, tmp_path: Path, damage: Any) -> None:
    """Data that cannot train a model is refused with a reason; nothing is lost, and the endpoint serves on."""
    _lift_daily_cap(shell)
    data = damage(tmp_path, _rows(CENSUS))
    before = shell.aws.client("sagemaker").describe_endpoint(EndpointName="dev-census")
    ended, summary = shell.release(data)
    assert 1 == ended.returncode
    assert summary["outcome"] in set(OUTCOMES) & {"blocked", "failed"}
    assert summary["reason"]
    assert summary["reason"] in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert [] == summary["steps"]
    assert data.read_bytes() in _kept(shell)
    after = shell.aws.client("sagemaker").describe_endpoint(EndpointName="dev-census")
    assert before["EndpointConfigName"] == after["EndpointConfigName"]


def _kept(shell: Shell) -> list[bytes]:
    """Every version of every raw and quarantined object."""
    s3 = shell.aws.client("s3")
    bucket = shell.deployment["DataBucketName"]
    return [
        s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
        for prefix in ("census/raw/", "census/quarantine/")
        for version in s3.list_object_versions(Bucket=bucket, Prefix=prefix).get("Versions", [])
    ]


def _lift_daily_cap(shell: Shell) -> None:
    """Let this module start more runs than a day allows."""
    table = shell.deployment["LedgerTableName"]
    key = {"pk": {"S": "PROJECT#census"}, "sk": {"S": f"CAP#{time.strftime('%Y-%m-%d', time.gmtime())}"}}
    shell.aws.client("dynamodb").delete_item(TableName=table, Key=key)


@pytest.mark.usefixtures("first")
def test_poisoned_credentials_are_never_read_or_sent(shell: Shell) -> None:
    """Of all the AWS settings in the shell none was read from a file, sent anywhere or written down."""
    assert ([], []) == (shell.poison.readers, shell.poison.requests)
    written = (path for path in shell.workplace.folder.rglob("*") if path.is_file())
    assert [] == [str(path) for path in written if SECRET.encode() in path.read_bytes()]


@pytest.mark.usefixtures("first")
def test_running_emulator_is_not_started_twice(shell: Shell) -> None:
    """A second up in the same folder names the one that runs."""
    again = shell.command("up", "--app", "unused")
    assert (2, "") == (again.returncode, again.stdout)
    assert "an emulator already runs at http://127.0.0.1:" in again.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_front_process_leaves_nothing(tmp_path: Path, assembly: Path, number: signal.Signals) -> None:
    """Ctrl-C, a termination and kill -9 in the middle of a run leave no process behind."""
    front = subprocess.Popen(
        [sys.executable, "-m", "dual_pipeline_local.run", "--app", str(assembly), "--work", str(tmp_path / "local")],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "local" / "cdk.log"
    deadline = time.monotonic() + 120
    while not (log.is_file() and b"cdk deploy" in log.read_bytes()):
        assert front.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    front.send_signal(number)
    front.wait(60)
    assert [] == _gone(tmp_path)


@pytest.mark.usefixtures("first")
def test_an_earlier_version_comes_back(shell: Shell) -> None:
    """`rollback` serves an approved version again by the whole guarded release, and makes it the champion."""
    sagemaker = shell.aws.client("sagemaker")
    told = shell.told("rollback", "1", "--local", "--because", "the\nnew one is slow", "--follow")
    assert "released: the model answers its golden rows on the endpoint" in told
    assert "was brought back: the new one is slow" in told
    endpoint = sagemaker.describe_endpoint(EndpointName="dev-census")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    containers: list[dict[str, Any]] = model.get("Containers") or [model["PrimaryContainer"]]
    (container,) = containers
    champion = _champion(shell)
    assert champion["model_package_arn"]["S"].endswith("/dev-census/1")
    assert champion["model_package_arn"]["S"] == container["ModelPackageName"]
    assert champion["endpoint_config"]["S"] == endpoint["EndpointConfigName"]


@pytest.mark.usefixtures("first")
def test_a_release_stops_where_something_is_missing(shell: Shell) -> None:
    """An alarm or a baseline that somebody deleted, or a model file written anew, stops it before anything is touched."""
    cloudwatch, s3 = shell.aws.client("cloudwatch"), shell.aws.client("s3")
    before = _champion(shell)
    bucket, _, report = before["evaluation_uri"]["S"].removeprefix("s3://").partition("/")
    baseline = report.replace("evaluation.json", "drift_baseline.json")
    model = before["model_uri"]["S"].removeprefix(f"s3://{bucket}/")
    cloudwatch.delete_alarms(AlarmNames=["dev-census-5xx-rate"])
    s3.delete_object(Bucket=bucket, Key=baseline)
    time.sleep(1.1)  # the object's time has whole seconds
    s3.copy_object(Bucket=bucket, Key=model, CopySource={"Bucket": bucket, "Key": model}, MetadataDirective="REPLACE")
    ended = shell.tell("rollback", "1", "--local", "--because", "try", "--follow")
    assert 1 == ended.returncode
    for problem in (
        "failed: Preflight: no rollback alarm dev-census-5xx-rate exists, so nothing would send a bad model back",
        f"the model file s3://{bucket}/{model} was written anew at ",
        f"the drift baseline {baseline} cannot be read: S3.",
    ):
        assert problem in ended.stdout
    assert before == _champion(shell)
    assert "InService" == shell.aws.client("sagemaker").describe_endpoint(EndpointName="dev-census")["EndpointStatus"]


def _champion(shell: Shell) -> dict[str, Any]:
    key = {"pk": {"S": "PROJECT#census"}, "sk": {"S": "CHAMPION#dev-census"}}
    table = shell.deployment["LedgerTableName"]
    item: dict[str, Any] = shell.aws.client("dynamodb").get_item(TableName=table, Key=key)["Item"]
    return item


def test_down_leaves_nothing(shell: Shell, first: tuple[subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    """`down` ends the emulator, its jobs and the live endpoint; reports stay."""
    assert 0 == shell.command("down").returncode
    assert [] == _gone(shell.workplace.folder)
    assert (shell.workplace.folder / "report.html").is_file()
    assert 1 == shell.command("status").returncode
