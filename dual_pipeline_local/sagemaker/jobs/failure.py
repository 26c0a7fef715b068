"""How jobs end badly, in SageMaker's words."""

from pathlib import Path

from dual_pipeline_local.processes import ProcessResult

_LONGEST = 1024


class JobFailed(Exception):
    """The job failed; `str()` is its FailureReason, typed "ClientError: ..." or "AlgorithmError: ..."."""

    def __init__(self, reason: str) -> None:
        super().__init__(shorten(reason))


class JobStopped(Exception):
    """The job was stopped."""


def shorten(reason: str) -> str:
    """Cut a reason to the length AWS allows; the middle goes, because type and exception stand at the ends."""
    if len(reason) <= _LONGEST:
        return reason
    head = _LONGEST // 4
    return f"{reason[:head]} ... {reason[head + 5 - _LONGEST :]}"


def algorithm_error(result: ProcessResult, failure_file: Path) -> JobFailed:
    """The failure of a process that ended with a code: the failure file it wrote, else its log's last lines."""
    told = failure_file.read_text(errors="replace").strip() if failure_file.is_file() else ""
    return JobFailed(f"AlgorithmError: {told or result.log_tail}, exit code: {result.exit_code}")


def script_error(result: ProcessResult, failure_file: Path, command: str) -> JobFailed:
    """The same for script mode, in the words of the sagemaker-training toolkit."""
    told = failure_file.read_text(errors="replace").strip() if failure_file.is_file() else ""
    command = command if len(command) <= 200 else f"{command[:200]}..."
    return JobFailed(
        f"AlgorithmError: ExecuteUserScriptError:\nExitCode {result.exit_code}\n"
        f'ErrorMessage "{told or result.log_tail}"\nCommand "{command}", exit code: {result.exit_code}'
    )
