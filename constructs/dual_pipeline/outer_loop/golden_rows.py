"""The rows that the evaluation answered, and whether somebody else answers them alike."""

from dual_pipeline.asl import State, jsonata, task
from dual_pipeline.loop_contract import GOLDEN_ROWS_FILE
from dual_pipeline.outer_loop.quality import S3_RETRY
from dual_pipeline.outer_loop.setting import FAILED_AFTER_APPROVAL, Setting, decoded

# Every answer is a number within the tolerance of what the evaluation got for the same row, and there is one per row.
_WRONG = """(
  $answers := [{answers}.predictions];
  $rows := $count($golden.expected);
  $off := $filter([0..$rows - 1], function($i) {
    $not($type($answers[$i]) = 'number' and $abs($answers[$i] - $golden.expected[$i]) <= $golden.tolerance)
  });
  $rows = 0 ? 'there are no golden rows'
  : $count($answers) != $rows
    ? '{who} gave ' & $count($answers) & ' answers to ' & $rows & ' golden rows'
  : $count($off) > 0
    ? $count($off) & ' of ' & $rows & ' golden rows are answered wrongly, the first with '
      & $string($answers[$off[0]]) & ' instead of ' & $string($golden.expected[$off[0]])
  : ''
)"""


def read_golden_rows(setting: Setting, *, next_: str) -> dict[str, State]:
    """Read rows and answers into `$golden`: {content_type, accept, body, expected, tolerance}."""
    return {
        "ReadGoldenRows": task(
            "aws-sdk:s3:getObject",
            arguments={
                "Bucket": setting.artifact_bucket,
                "Key": jsonata(f"$evaluation.folder & '{GOLDEN_ROWS_FILE}'"),
            },
            timeout_s=60,
            retries=S3_RETRY,
            catches=[FAILED_AFTER_APPROVAL],
            assign={
                "golden": jsonata(
                    f"($g := {decoded('$states.result.Body')};"
                    " {'content_type': $g.content_type, 'accept': $g.accept, 'body': $g.body,"
                    " 'expected': [$g.expected], 'tolerance': $g.tolerance})"
                )
            },
            next_=next_,
        ),
    }


def wrong_answers(body: str, *, who: str) -> str:
    """JSONata for what is wrong with the answers in `body`, in a sentence about `who`; empty if nothing is."""
    return _WRONG.replace("{answers}", decoded(body)).replace("{who}", who)
