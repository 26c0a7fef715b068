"""The small machine that measures drift: champion, job, metrics, people; nothing it does changes what serves."""

import json
from dataclasses import dataclass

from dual_pipeline.asl import State, Statement, catch, choice, jsonata, quote, task
from dual_pipeline.environment import Environment
from dual_pipeline.instance_types import takes_volume_key
from dual_pipeline.loop_contract import (
    CAPTURE_FOLDER,
    DRIFT_FOLDER,
    GOLDEN_INFERENCE_ID,
    GROUND_TRUTH_FOLDER,
    LIVE_QUALITY_METRICS,
    METRIC_NAMESPACE,
    RUN_DIMENSION,
    TAG_COST_CENTER,
    TAG_ENVIRONMENT,
    TAG_PROJECT,
    VARIANT_NAME,
)
from dual_pipeline.model_project import Drift
from dual_pipeline.outer_loop.finish import CLOUDWATCH_RETRY, key_statement, publish, tell_statements
from dual_pipeline.outer_loop.quality import S3_RETRY
from dual_pipeline.outer_loop.setting import (
    CAUSE_TEXT,
    REDRIVE,
    RETRY,
    STARTING_S,
    decoded,
    network_of,
    read_item,
    seconds,
)
from dual_pipeline.outer_loop.training_job import JOB_RETRY

KIND = "drift"
_PAGE = "https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html"
# What is staged is the evaluation's folder, code and report; captured data is streamed.
_VOLUME_GIB = 5
_INPUT = "/opt/ml/processing/input"
_REPORT = "/opt/ml/processing/output/report"
_MESSAGE = "/opt/ml/output/message"
_UNMEASURED = catch(next_="TellFailure", assign={"why": jsonata(CAUSE_TEXT)})
_STOPPED = "the processing job was stopped before its end"


@dataclass(frozen=True, kw_only=True)
class DriftSetting:
    """What the states have to know; strings may be CDK tokens. `code_uri` is a zip named `code_file`."""

    environment: Environment
    project: str
    drift: Drift
    partition: str
    account: str
    data_bucket: str
    artifact_bucket: str
    table_name: str
    key_arn: str
    topic_arn: str
    image: str
    role_arn: str
    code_uri: str
    code_file: str

    @property
    def prefix(self) -> str:
        """`<environment>-<project>`: the name of the endpoint, and the start of the machine's and its jobs'."""
        return f"{self.environment.name}-{self.project}"

    @property
    def job_limit_s(self) -> int:
        """How long the job may take, the start of its instance included."""
        return seconds(self.drift.max_time) + STARTING_S

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of this account and region by its name."""
        return f"arn:{self.partition}:{service}:{self.environment.region}:{self.account}:{resource}"


def drift_definition(setting: DriftSetting) -> State:
    """The machine; its input is ignored, so that anybody may start it."""
    subject, document = quote(f"Drift of {setting.prefix}: "), "docs/runbook.md, section 'Drift not measured'"
    report_uri = jsonata(f"'s3://{setting.artifact_bucket}/' & $folder & 'report.html'")
    states: dict[str, State] = {
        "ReadChampion": _read_champion(
            setting,
            assign={
                "champion": {
                    "run": jsonata("$states.result.Item.run_id.S & ''"),
                    "package": jsonata("$states.result.Item.model_package_arn.S & ''"),
                    "evaluation": jsonata("$states.result.Item.evaluation_uri.S & ''"),
                    "released": jsonata("$states.result.Item.released_at.S & ''"),
                },
                "end": jsonata("$now()"),
                "id": jsonata("$substring($hash($states.context.Execution.Id, 'SHA-256'), 0, 12)"),
            },
            next_="IsServing",
        ),
        "IsServing": choice(
            ("$champion.package = ''", "NothingServes"),
            default="Measure",
            otherwise={
                "folder": jsonata(f"'{setting.project}/{DRIFT_FOLDER}/' & $substring($end, 0, 10) & '-' & $id & '/'")
            },
        ),
        "NothingServes": {"Type": "Succeed", "Output": {"status": "nothing serves yet, so nothing can drift"}},
        "Measure": task(
            "sagemaker:createProcessingJob.sync",
            arguments=_job(setting),
            timeout_s=setting.job_limit_s,
            retries=JOB_RETRY,
            catches=[_UNMEASURED],
            # No page says that `.sync` fails for a job that was stopped.
            assign={
                "ended": jsonata(
                    "$states.result.ProcessingJobStatus = 'Completed' ? $states.result.ProcessingJobStatus"
                    f" : $error({quote(_STOPPED)})"
                )
            },
            next_="ReadSummary",
        ),
        "ReadSummary": task(
            "aws-sdk:s3:getObject",
            arguments={"Bucket": setting.artifact_bucket, "Key": jsonata("$folder & 'summary.json'")},
            timeout_s=60,
            retries=S3_RETRY,
            catches=[_UNMEASURED],
            assign={"found": jsonata(decoded("$states.result.Body"))},
            next_="ReadChampionAgain",
        ),
        # A job runs long enough for a release: what it found is then of a model that serves no more.
        "ReadChampionAgain": _read_champion(
            setting, assign={"released": jsonata("$states.result.Item.released_at.S & ''")}, next_="StillServes"
        ),
        "StillServes": choice(("$released = $champion.released", "ChooseStatus"), default="Superseded"),
        "Superseded": {
            "Type": "Succeed",
            "Output": {
                "status": "superseded: another model was released meanwhile, and nothing is said of its predecessor",
                "report_uri": report_uri,
            },
        },
        "ChooseStatus": choice(
            ("$found.status = 'measured'", "PublishMetrics"),
            ("$found.status = 'thin'", "Measured"),
            default="TellFailure",
            otherwise={"why": jsonata("$found.message")},
        ),
        "PublishMetrics": task(
            "aws-sdk:cloudwatch:putMetricData",
            arguments={
                "Namespace": METRIC_NAMESPACE,
                "MetricData": jsonata(_metric_data(setting)),
            },
            timeout_s=60,
            retries=CLOUDWATCH_RETRY,
            catches=[_UNMEASURED],
            next_="IsAnybodyTold",
        ),
        "IsAnybodyTold": choice(("$found.decision != 'nothing'", "Tell"), default="Measured"),
        "Tell": publish(
            setting.topic_arn,
            subject=f"({subject} & $found.decision)",
            message="$found.message",
            output={},
            next_="Measured",
        ),
        "Measured": {
            "Type": "Succeed",
            "Output": {
                "status": jsonata("$found.status"),
                "decision": jsonata("$found.decision"),
                "sentence": jsonata("$found.sentence"),
                "report_uri": report_uri,
            },
        },
        "TellFailure": publish(
            setting.topic_arn,
            subject=f"({subject} & 'not measured')",
            message=f"('Drift of {setting.prefix} was not measured: ' & $why & {quote(f'. See {document}.')})",
            output={},
            next_="NotMeasured",
        ),
        "NotMeasured": {"Type": "Fail", "Error": "DualPipeline.DriftNotMeasured", "Cause": jsonata("$why")},
    }
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "ReadChampion",
        "TimeoutSeconds": setting.job_limit_s + 3600,
        "States": states,
    }


def _read_champion(setting: DriftSetting, *, assign: State, next_: str) -> State:
    return read_item(
        setting.table_name,
        {"pk": {"S": f"PROJECT#{setting.project}"}, "sk": {"S": f"CHAMPION#{setting.prefix}"}},
        catches=[_UNMEASURED],
        assign=assign,
        next_=next_,
    )


def _metric_data(setting: DriftSetting) -> str:
    """JSONata for every metric by environment and project, and the live quality a second time by the model's run."""
    return (
        f"($keys := [{{'Name': 'Environment', 'Value': {quote(setting.environment.name)}}},"
        f" {{'Name': 'Project', 'Value': {quote(setting.project)}}}];"
        f" $own := $append($keys, {{'Name': {quote(RUN_DIMENSION)}, 'Value': $champion.run}});"
        " $data := function($metrics, $dimensions) { $metrics.{'MetricName': name, 'Value': value, 'Unit': 'None',"
        " 'Dimensions': $dimensions} };"
        f" $quality := $found.metrics[name in {json.dumps(LIVE_QUALITY_METRICS)}];"
        " $append($data($found.metrics, $keys), $data($quality, $own)))"
    )


def _job(setting: DriftSetting) -> State:
    """The request for the job `<environment>-<project>-drift-...`; no retry and no redrive gives a name twice.

    It reads captured data itself, so that it is not isolated from S3.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
    """
    drift, project = setting.drift, setting.project
    artifacts = f"s3://{setting.artifact_bucket}"
    arguments: dict[str, object] = {
        "--input-evaluation": f"{_INPUT}/evaluation",
        "--output-report": _REPORT,
        "--output-message": _MESSAGE,
        "--report-uri": jsonata(f"'{artifacts}/' & $folder"),
        "--capture-uri": f"{artifacts}/{project}/{CAPTURE_FOLDER}/{setting.prefix}/{VARIANT_NAME}/",
        "--labels-uri": f"s3://{setting.data_bucket}/{project}/{GROUND_TRUTH_FOLDER}/",
        "--own-id": GOLDEN_INFERENCE_ID,
        "--model": jsonata("$champion.package"),
        "--released-at": jsonata("$champion.released"),
        "--end": jsonata("$end"),
        "--window-s": str(seconds(drift.window)),
        "--label-window-s": str(seconds(drift.label_window)),
        "--min-rows": str(drift.min_rows),
        "--min-labels": str(drift.min_labels),
        "--alpha": str(drift.alpha),
        "--max-psi": str(drift.max_psi),
        "--max-auc-drop": str(drift.max_auc_drop),
    }
    tags = {
        TAG_ENVIRONMENT: setting.environment.name,
        TAG_PROJECT: project,
        TAG_COST_CENTER: setting.environment.cost_center,
    }
    return {
        "ProcessingJobName": jsonata(f"'{setting.prefix}-{KIND}-' & $id & '-' & {RETRY} & '-' & {REDRIVE}"),
        "RoleArn": setting.role_arn,
        "AppSpecification": {
            "ImageUri": setting.image,
            "ContainerEntrypoint": ["python3", f"{_INPUT}/code/{setting.code_file}"],
            "ContainerArguments": [word for argument in arguments.items() for word in argument],
        },
        "Environment": {"AWS_DEFAULT_REGION": setting.environment.region},
        "ProcessingInputs": [
            _input("code", setting.code_uri),
            _input("evaluation", jsonata("$substringBefore($champion.evaluation, 'evaluation.json')")),
        ],
        "ProcessingOutputConfig": {
            "KmsKeyId": setting.key_arn,
            "Outputs": [
                {
                    "OutputName": "report",
                    "S3Output": {
                        "LocalPath": _REPORT,
                        "S3UploadMode": "EndOfJob",
                        "S3Uri": jsonata(f"'{artifacts}/' & $folder"),
                    },
                }
            ],
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": drift.instance,
                "VolumeSizeInGB": _VOLUME_GIB,
                **({"VolumeKmsKeyId": setting.key_arn} if takes_volume_key(drift.instance) else {}),
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds(drift.max_time)},
        "NetworkConfig": {"EnableNetworkIsolation": False, **network_of(setting.environment)},
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


def _input(name: str, uri: str) -> State:
    source = {
        "LocalPath": f"{_INPUT}/{name}",
        "S3DataDistributionType": "FullyReplicated",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3Uri": uri,
    }
    return {"InputName": name, "S3Input": source}


def drift_statements(setting: DriftSetting) -> tuple[Statement, ...]:
    """What the machine may do: read one item, run jobs of one name, read their reports, publish."""
    bucket = f"arn:{setting.partition}:s3:::{setting.artifact_bucket}"
    rule = setting.arn("events", "rule/StepFunctionsGetEventsForSageMakerProcessingJobsRule")
    s3_page = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_RequestSyntax"
    return (
        Statement(
            actions=("dynamodb:GetItem",),
            resources=(setting.arn("dynamodb", f"table/{setting.table_name}"),),
            conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [f"PROJECT#{setting.project}"]}},
            source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html",
        ),
        Statement(
            actions=(
                "sagemaker:AddTags",
                "sagemaker:CreateProcessingJob",
                "sagemaker:DescribeProcessingJob",
                "sagemaker:ListTags",
                "sagemaker:StopProcessingJob",
            ),
            resources=(setting.arn("sagemaker", f"processing-job/{setting.prefix}-{KIND}-*"),),
            source=_PAGE,
        ),
        Statement(
            actions=("events:DescribeRule", "events:PutRule", "events:PutTargets"), resources=(rule,), source=_PAGE
        ),
        Statement(
            actions=("iam:PassRole",),
            resources=(setting.role_arn,),
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createprocessingjob-perms",
        ),
        Statement(
            actions=("kms:CreateGrant",),
            resources=(setting.key_arn,),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingClusterConfig.html",
        ),
        Statement(
            actions=("s3:GetObject",),
            resources=(f"{bucket}/{setting.project}/{DRIFT_FOLDER}/*",),
            source=s3_page,
        ),
        # S3 tells a missing object from a denied one only to who may list the bucket.
        Statement(actions=("s3:ListBucket",), resources=(bucket,), source=s3_page),
        *tell_statements(setting.topic_arn),
        key_statement(setting.key_arn),
    )
