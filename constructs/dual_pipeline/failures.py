"""What a failure's own words mean: its kind, its cause for people, the remedy and the runbook's section.

One table, read alike by the state machine (`classification`, JSONata) and by Python (`classify`). The first row of
which one needle stands in the text decides; needles are compared letter by letter, as AWS writes them.
"""

import json
import re
from dataclasses import asdict, dataclass

RUNBOOK = "docs/runbook.md"
# Exit code and exception in what a job said; bounded, so that no text makes the search slow.
_EXIT_CODE = "[Ee]xit ?[Cc]ode:? ([0-9]{1,3})"
_EXCEPTION = "[A-Za-z_.]{0,60}(Error|Exception): [^\\r\\n]{1,200}"

# As much of a text is read: Step Functions gives an expression one second, and where this is asked it cannot fail.
_READ = 4000

_STEP_FUNCTIONS = "https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html"
_RETRIES = "https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html"
_COMMON = "https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html"
_GLUE = "https://docs.aws.amazon.com/glue/latest/dg/glue-troubleshooting-errors.html"
_OWN = "docs/outer-loop.md#failures-by-state"

# Who has to act: the tree's branches, of which the kinds are the leaves.
PLATFORM = "the platform team"
PROJECT = "the project's data scientists"
PERSON = "whoever asked, stopped or refused"
AWS = "nobody but AWS"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A kind of failure: who has to act, `cause` in words, what to do, and the heading in docs/runbook.md."""

    kind: str
    whose: str
    cause: str
    remedy: str
    runbook: str

    @property
    def link(self) -> str:
        """Where the section stands."""
        return runbook_link(self.runbook)


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """The words by which a failure is known, and the pages that have them; ours are told in docs/outer-loop.md."""

    failure: Failure
    needles: tuple[str, ...]
    sources: tuple[str, ...]


def runbook_link(section: str) -> str:
    """The address of a runbook's section; empty for none."""
    anchor = re.sub(r"[^\w\- ]", "", section.lower()).replace(" ", "-")
    return f"{RUNBOOK}#{anchor}" if section else ""


PATTERNS = (
    Pattern(
        failure=Failure(
            kind="input",
            whose=PERSON,
            cause="the run was started with input that breaks the contract",
            remedy="correct the input, or start with: dual-pipeline start",
            runbook="Run failed",
        ),
        needles=("the input is not valid: ",),
        sources=(_OWN,),
    ),
    Pattern(
        failure=Failure(
            kind="lost-champion",
            whose=PLATFORM,
            cause="the ledger does not know which model serves, so no comparison is possible",
            remedy="reject the approved package if it does not serve, or restore the ledger's CHAMPION item",
            runbook="Lost champion",
        ),
        needles=("the ledger names no champion although ",),
        sources=(_OWN,),
    ),
    Pattern(
        failure=Failure(
            kind="endpoint-stuck",
            whose=PLATFORM,
            cause="the endpoint is in a state from which no release and no way back is possible",
            remedy="bring the endpoint back by hand, then start a run",
            runbook="Endpoint stuck",
        ),
        needles=(
            " and takes no new model; ",
            "; it needs a person, see the runbook",
            "; and the way back failed",
            "; this was the first deployment, ",
        ),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html",),
    ),
    Pattern(
        failure=Failure(
            kind="preflight",
            whose=PLATFORM,
            cause="something that a release needs is missing, is not what was registered, or could not be looked at;"
            " nothing was touched",
            remedy="repair what the reason names, then start a run",
            runbook="Release refused by its preflight",
        ),
        needles=(
            "Preflight: no rollback alarm ",
            "Preflight: the checks ended as ",
            " rings already, so SageMaker would ",
            " does not exist any more",
            " when the model was registered",
            " when it was registered",
            ", after its registration",
            ", to which a refused rollout goes back, ",
        ),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html",),
    ),
    Pattern(
        failure=Failure(
            kind="gate",
            whose=PROJECT,
            cause="the model passed its gate but no step of the inner loop registered it",
            remedy="let the pipeline's condition and its gate agree: dual-pipeline plan shows the definition",
            runbook="Run failed",
        ),
        needles=("the evaluation passed its gate but no step registered a model",),
        sources=(_OWN,),
    ),
    Pattern(
        failure=Failure(
            kind="answers",
            whose=PROJECT,
            cause="in batch the model answers its golden rows otherwise than its evaluation did",
            remedy="compare golden_rows.json with the job's output, and inference.py with what the image has installed",
            runbook="Batch release failed",
        ),
        needles=(" golden rows are answered wrongly", " golden rows; nothing was scored", "there are no golden rows"),
        sources=(_OWN,),
    ),
    Pattern(
        failure=Failure(
            kind="machine",
            whose=PLATFORM,
            cause="the state machine could not read or hold what a job gave it: a document is malformed or too large",
            remedy="look at the document of the state that is named, and at the job that wrote it",
            runbook="Document not understood",
        ),
        needles=("States.Runtime", "States.DataLimitExceeded", "States.QueryEvaluationError"),
        sources=(_STEP_FUNCTIONS,),
    ),
    Pattern(
        failure=Failure(
            kind="memory",
            whose=PROJECT,
            cause="a job ran out of memory and was killed",
            remedy="give the job a larger instance, or Glue more workers, and start a run",
            runbook="Out of memory",
        ),
        needles=(
            "xit code: 137",
            "ExitCode 137",
            "exit status 137",
            "exit code 137",
            "OutOfMemory",
            "MemoryError",
            "Container killed by YARN for exceeding memory limits",
            "with more memory",
        ),
        sources=("https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html",),
    ),
    Pattern(
        failure=Failure(
            kind="disk",
            whose=PROJECT,
            cause="a job's volume is full",
            remedy="give the job a larger instance, and start a run",
            runbook="Out of memory",
        ),
        needles=("No space left on device",),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/dg/model-train-storage.html",),
    ),
    Pattern(
        failure=Failure(
            kind="key",
            whose=PLATFORM,
            cause="the encryption key is disabled, scheduled for deletion, or does not admit the role",
            remedy="enable the key, and compare its policy with make synth",
            runbook="Access denied",
        ),
        needles=(
            "KMSAccessDenied",
            "KMSDisabled",
            "KMSInvalidState",
            "KMS.",
            "Kms.",
            "kms:Decrypt",
            "kms:GenerateDataKey",
            "kms:CreateGrant",
            "kms:DescribeKey",
        ),
        sources=("https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html",),
    ),
    Pattern(
        failure=Failure(
            kind="image",
            whose=PLATFORM,
            cause="the container image could not be pulled: it does not exist, or the role may not read it",
            remedy="check the image's name and region, and the role's rights on its repository",
            runbook="Image not pulled",
        ),
        needles=(
            "annot pull",
            "CannotStartContainerError",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
            "ImageNotFound",
            "RepositoryNotFound",
        ),
        sources=("https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors-docker.html",),
    ),
    Pattern(
        failure=Failure(
            kind="permission",
            whose=PLATFORM,
            cause="a role lacks a permission",
            remedy="compare the role's policy with make synth: somebody may have edited it by hand",
            runbook="Access denied",
        ),
        needles=(
            "AccessDenied",
            "is not authorized to perform",
            "Access Denied",
            "Could not assume role",
            "UnauthorizedOperation",
            "403 Forbidden",
            "(403)",
        ),
        sources=("https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html",),
    ),
    Pattern(
        failure=Failure(
            kind="quota",
            whose=PLATFORM,
            cause="a quota of the account is used up",
            remedy="ask for a higher quota (Service Quotas), or lower what runs at once, and start a run",
            runbook="Quota or capacity",
        ),
        needles=(
            "ResourceLimitExceeded",
            "ResourceNumberLimitExceeded",
            "account-level service limit",
            "ConcurrentRunsExceeded",
            "VcpuLimitExceeded",
            "ExecutionLimitExceeded",
            "ServiceQuotaExceeded",
            "maximum concurrent capacity",
        ),
        sources=(_RETRIES, _GLUE),
    ),
    Pattern(
        failure=Failure(
            kind="capacity",
            whose=AWS,
            cause="AWS has no instance of this type free now",
            remedy="start a run later, or choose another instance type",
            runbook="Quota or capacity",
        ),
        needles=(
            "CapacityError",
            "InsufficientCapacity",
            "InsufficientInstanceCapacity",
            "nsufficient capacity",
            "Unable to provision requested ML compute capacity",
            "Resource unavailable",
        ),
        sources=(_RETRIES, _GLUE),
    ),
    Pattern(
        failure=Failure(
            kind="throttled",
            whose=AWS,
            cause="AWS was asked too often in too short a time, and every retry as well",
            remedy="start a run again; if it recurs, see what else calls this API",
            runbook="Service fault",
        ),
        needles=(
            "Throttl",
            "Rate exceeded",
            "TooManyRequests",
            "ProvisionedThroughputExceeded",
            "SlowDown",
            "RequestLimitExceeded",
        ),
        sources=(_COMMON,),
    ),
    Pattern(
        failure=Failure(
            kind="missing-object",
            whose=PLATFORM,
            cause="an object that was expected in S3 is not there",
            remedy="restore it from its version, or see why the job before did not write it",
            runbook="Object missing",
        ),
        needles=("NoSuchKey", "NoSuchBucket", "No S3 objects found", "The specified key does not exist"),
        sources=("https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html",),
    ),
    Pattern(
        failure=Failure(
            kind="download",
            whose=PLATFORM,
            cause="a job could not download its input",
            remedy="see whether the input that is named still exists and the role may read it",
            runbook="Object missing",
        ),
        needles=("Data download failed", "ailed to download"),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html",),
    ),
    Pattern(
        failure=Failure(
            kind="health",
            whose=PROJECT,
            cause="the model's container came up but did not answer SageMaker's health check",
            remedy="read the endpoint's log for the traceback of inference.py, repair it, and start a run",
            runbook="Endpoint stuck",
        ),
        needles=("ping health check",),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html",),
    ),
    Pattern(
        failure=Failure(
            kind="timeout",
            whose=PLATFORM,
            cause="it took longer than it may",
            remedy="see what it waited for; raise the limit only if it really takes longer",
            runbook="Took too long",
        ),
        needles=(
            "States.Timeout",
            "took longer than",
            "MaxRuntimeExceeded",
            "MaxWaitTimeExceeded",
            "imed out",
            "TIMED_OUT",
            "TIMEOUT",
        ),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html",),
    ),
    Pattern(
        failure=Failure(
            kind="stopped",
            whose=PERSON,
            cause="somebody stopped it",
            remedy="ask who and why (CloudTrail tells), then start a run",
            runbook="Stopped by a person",
        ),
        needles=("the pipeline execution stopped", "ended as ABORTED", "STOPPED", "StoppedByUser", "was stopped"),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopPipelineExecution.html",),
    ),
    Pattern(
        failure=Failure(
            kind="service",
            whose=AWS,
            cause="an AWS service had an error of its own",
            remedy="start a run again; if it recurs, look at the AWS Health Dashboard",
            runbook="Service fault",
        ),
        needles=(
            "InternalServerError",
            "InternalServiceException",
            "InternalServerException",
            "InternalFailure",
            "InternalDependencyException",
            "ServiceUnavailable",
            "Service Unavailable",
            "internal error",
            "SdkClientException",
        ),
        sources=(_RETRIES,),
    ),
    Pattern(
        failure=Failure(
            kind="decision",
            whose=PERSON,
            cause="a check of the inner loop said no",
            remedy="ask the owners of that check; after they changed their mind start a run",
            runbook="Inner loop by step",
        ),
        needles=("step ExternalCheck: ", "step Decide: ", "step BadParameters: "),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html",),
    ),
    Pattern(
        failure=Failure(
            kind="request",
            whose=PROJECT,
            cause="SageMaker cannot do what it was asked for",
            remedy="read its words: they name what it was given; correct that, deploy, and start a run",
            runbook="Inner loop by step",
        ),
        needles=("ClientError: ", "ValidationException", "SageMaker.SageMakerException"),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeProcessingJob.html",),
    ),
    Pattern(
        failure=Failure(
            kind="data-job",
            whose=PLATFORM,
            cause="a job of the platform's own, ingest or data quality, ended with an error",
            remedy="read its log; a raw file whose name or content it cannot take may have to go; then start a run",
            runbook="Data job failed",
        ),
        needles=("IngestData failed", "EvaluateDataQuality failed"),
        sources=(_OWN,),
    ),
    Pattern(
        failure=Failure(
            kind="code",
            whose=PROJECT,
            cause="the step's own code ended with an error",
            remedy="its project's data scientists repair it (dual-pipeline step runs it alone), then start a run",
            runbook="Code failed",
        ),
        needles=(
            "AlgorithmError",
            "ExecuteUserScriptError",
            "Traceback",
            "xit code",
            "ExitCode",
            "Error: ",
            "Exception: ",
            "No training job succeeded",
        ),
        sources=("https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html",),
    ),
)
UNKNOWN = Failure(
    kind="unknown",
    whose=PLATFORM,
    cause="this failure has no entry in the table of known ones",
    remedy="read the reason and the failed job's log; start a run once its cause is gone",
    runbook="Run failed",
)


def classify(text: str) -> dict[str, str]:
    """Kind, who has to act, cause, remedy and the runbook's address of a failure that said `text`."""
    text = text[:_READ]
    failure = next((row.failure for row in PATTERNS if any(needle in text for needle in row.needles)), UNKNOWN)
    told = asdict(failure) | {"runbook": failure.link}
    return told | {"cause": failure.cause + _detail(text)} if failure.kind == "code" else told


def classification(text: str) -> str:
    """JSONata for what `classify` answers, over the string that the expression `text` gives; it never fails."""
    rows = "".join(f"$has({json.dumps(row.needles)}) ? {_object(row.failure)}\n  : " for row in PATTERNS)
    return f"""(
  $t := $substring({text}, 0, {_READ});
  $has := function($needles) {{ $count($filter($needles, function($n) {{ $contains($t, $n) }})) > 0 }};
  $code := $match($t, /{_EXIT_CODE}/)[0].groups[0];
  $said := $match($t, /{_EXCEPTION}/)[-1].match;
  $detail := ($exists($code) ? ' (exit code ' & $code & ')' : '') & ($exists($said) ? ': ' & $said : '');
  {rows}{_object(UNKNOWN)}
)"""


def _object(failure: Failure) -> str:
    told = json.dumps(asdict(failure) | {"runbook": failure.link})
    return told.replace(f'"{failure.cause}"', f'"{failure.cause}" & $detail') if failure.kind == "code" else told


def _detail(text: str) -> str:
    code, said = re.search(_EXIT_CODE, text), list(re.finditer(_EXCEPTION, text))
    return (f" (exit code {code[1]})" if code else "") + (f": {said[-1][0]}" if said else "")
