"""Everything that the outer loop writes to people: what happened, why, what to do, and the next command to type.

Subjects and texts are JSONata over the machine's variables. https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
takes a subject of at most 100 characters on one line and a message of 256 KiB; these stay below 8 KiB.
"""

from dataclasses import dataclass

from dual_pipeline.asl import quote
from dual_pipeline.failures import classification, runbook_link
from dual_pipeline.loop_contract import EVALUATION_FILE, REPORT_FILE

REASON = "($reason & ($trouble = '' ? '' : ' (trouble: ' & $trouble & ')'))"
# The longest reason that is mailed; the ledger has the whole.
_LONGEST = 3000
_BECAUSE = quote(' --because "WHY"')


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an outcome is told: what happened, what to do, and the runbook's heading, if there is more to say."""

    happened: str
    remedy: str
    runbook: str = ""


_CHAMPION = ", and the champion serves on"
SAVED = "a new model is saved, and none is deployed"
IN_BATCH = "a new model is the champion and scores in batch"
OUTCOMES = {
    "released": Outcome(happened="a new model serves and is the champion", remedy="nothing"),
    "suppressed": Outcome(
        happened="this trigger started no training",
        remedy="nothing, what waits follows by itself; dual-pipeline start --force trains on the same data once more,"
        " within the daily cap (limits.runs_per_day); where drift asked for it, look at the data",
    ),
    "blocked": Outcome(
        happened="new data was refused, and the champion serves on",
        remedy="deliver a corrected file; without a quarantined object remove the bad one from raw/ first",
        runbook="Data blocked",
    ),
    "below-gate": Outcome(
        happened="the new model is not good enough, and the champion serves on",
        remedy="nothing is broken; the evaluation's report.html shows where the model falls short",
        runbook="Model below its gate",
    ),
    "rejected": Outcome(
        happened="the model was rejected, and the champion serves on",
        remedy="nothing; if the approval was stale, start a run again",
        runbook="Model not approved",
    ),
    "expired": Outcome(
        happened="nobody decided on the model in time, and the champion serves on",
        remedy="start a run again, and see that its approvers get these messages",
        runbook="Model not approved",
    ),
    "rolled-back": Outcome(
        happened="the new model was sent back, and the one before it serves",
        remedy="read the endpoint's log; compare golden_rows.json with what the endpoint answered",
        runbook="Release rolled back",
    ),
    "failed": Outcome(happened="the run broke off", remedy="see below", runbook="Run failed"),
}


def happened(*, deploys: bool = True, in_batch: bool = False) -> dict[str, str]:
    """What happened, by outcome, in the words for where a project's models go."""
    told = {name: row.happened for name, row in OUTCOMES.items()}
    if not deploys:
        return {name: text.removesuffix(_CHAMPION) for name, text in told.items()} | {"released": SAVED}
    if in_batch:
        stays = {name: text.replace(_CHAMPION, ", and the champion stays") for name, text in told.items()}
        return stays | {"released": IN_BATCH}
    return told


def advice(reason: str = "$reason", outcome: str = "$outcome") -> str:
    """JSONata for {kind, whose, cause, remedy, runbook}: of a failure by its words, of another outcome by name."""
    told = ", ".join(
        f"{quote(name)}: {{'remedy': {quote(row.remedy)}, 'runbook': {quote(runbook_link(row.runbook))}}}"
        for name, row in OUTCOMES.items()
        if name != "failed"
    )
    nothing = "{'kind': '', 'whose': '', 'cause': '', 'remedy': '', 'runbook': ''}"
    return f"({outcome} = 'failed' ? {classification(reason)} : $merge([{nothing}, $lookup({{{told}}}, {outcome})]))"


@dataclass(frozen=True, kw_only=True)
class Teller:
    """The texts of one project in one environment; `project` is a JSONata expression.

    What a project saves without deploying it has no champion beside it; one that scores `in_batch` has a champion that
    serves nobody.
    """

    environment: str
    project: str
    deploys: bool = True
    in_batch: bool = False

    @property
    def _name(self) -> str:
        return f"({self.project} & {quote(f' in {self.environment}')})"

    @property
    def _options(self) -> str:
        return f"{quote(f' --env {self.environment} --project ')} & {self.project}"

    def outcome_subject(self, outcome: str = "$outcome") -> str:
        """What an outcome's message is called."""
        return f"{self._name} & ': ' & {outcome}"

    def outcome(self, *, outcome: str = "$outcome", reason: str = REASON, started: str = "") -> str:
        """What became of a run, why, and what to do; `$advice` and `$runId` are set. `started` tells of the trigger."""
        told = happened(deploys=self.deploys, in_batch=self.in_batch)
        texts = ", ".join(f"{quote(name)}: {quote(text)}" for name, text in told.items())
        return _lines(
            f"{self._name} & ': ' & $lookup({{{texts}}}, {outcome}) & '.'",
            "''",
            f"'Why: ' & $substring({reason}, 0, {_LONGEST})",
            "($advice.kind != ''"
            " ? 'That is: ' & $advice.cause & ' (' & $advice.kind & ', for ' & $advice.whose & ')' : [])",
            "'Do: ' & $advice.remedy",
            f"'More: dual-pipeline explain ' & $runId & {self._options}",
            f"($advice.kind != '' ? 'Again: dual-pipeline start' & {self._options} & {_BECAUSE} : [])",
            "($advice.runbook != '' ? 'Runbook: ' & $advice.runbook : [])",
            *([started] if started else []),
        )

    def orphans(self) -> str:
        """The commands that find packages for which nobody waits any more, and reject one: two lines."""
        listing = (
            f"'  aws sagemaker list-model-packages --model-package-group-name {self.environment}-' & {self.project}"
            " & ' --model-approval-status PendingManualApproval'"
        )
        because = quote(' --because "its run has ended"')
        return f"{listing}, '  dual-pipeline reject PACKAGE' & {self._options} & {because}"

    def request_subject(self, what: str) -> str:
        """What a request for approval is called."""
        return f"{self._name} & {quote(f': {what}')}"

    def request(self, *, opening: str, ending: str, bucket: str) -> str:
        """Which model waits, its numbers against the champion's, where the report is, and the commands that decide."""
        decide = f"' ' & $packageArn & {self._options} & {_BECAUSE}"
        return _lines(
            opening,
            "''",
            "'Package: ' & $packageArn",
            "'Run: ' & $runId & ', started for reason ' & $trigger.reason"
            " & ($trigger.detail != '' ? ' (' & $trigger.detail & ')' : '')",
            "''",
            "'On the holdout:'",
            "$each($evaluation.metrics, function($m, $name) { '  ' & $name & ' ' & $string($round($m.value, 4))"
            " & ($type($lookup($evaluation.champion.metrics, $name)) = 'number'"
            " ? ' (champion ' & $string($round($lookup($evaluation.champion.metrics, $name), 4)) & ')' : '') })",
            "($evaluation.champion.sentence & '' != '' ? $evaluation.champion.sentence"
            " : 'There is no champion to compare with.')",
            f"'Report and plots: s3://{bucket}/' & $evaluation.folder & '{REPORT_FILE}'",
            f"'Numbers: s3://{bucket}/' & $evaluation.folder & '{EVALUATION_FILE}'",
            "''",
            ending,
            f"'  dual-pipeline approve' & {decide}",
            f"'  dual-pipeline reject' & {decide}",
            "'or in SageMaker Studio, or by'",
            "'  aws sagemaker update-model-package --model-package-arn ' & $packageArn"
            " & ' --model-approval-status Approved --approval-description \"WHY\"'",
        )


STARTED = "'Started for reason ' & $trigger.reason & ($trigger.detail != '' ? ' (' & $trigger.detail & ')' : '') & '.'"


def words(seconds: int) -> str:
    """A duration in its largest whole unit."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}{'s' if seconds > length else ''}"
    return f"{seconds} seconds"


def _lines(*lines: str) -> str:
    # An array in an array is spread, an empty one leaves no line.
    return f"$join([{', '.join(lines)}], '\\n')"
