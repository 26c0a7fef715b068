"""Processing job: compare what an endpoint was asked with what its model learned; write a report, judge nothing else.

A window that is too thin or mostly damaged does not fail the job: the report says so, and its status.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import boto3

from .baseline import read_baseline
from .errors import DriftError
from .ground_truth import CSV, JSON_LINES, GroundTruth
from .measurement import Policy, Span, Watch, report, summary
from .objects import Objects
from .report import render
from .window import moment, window_before

REPORT_FILE, PAGE_FILE, SUMMARY_FILE = "report.json", "report.html", "summary.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job; a mistake in its inputs ends it with one sentence."""
    options = parser().parse_args(arguments)
    s3 = boto3.client("s3")
    try:
        run(options, Objects(s3, options.capture_uri), Objects(s3, options.labels_uri))
    except DriftError as error:
        # Of a processing job's log AWS tells nothing to who started it, but of this file its first kilobyte.
        # https://docs.aws.amazon.com/sagemaker/latest/dg/byoc-metadata.html
        options.output_message.parent.mkdir(parents=True, exist_ok=True)
        options.output_message.write_bytes(str(error).encode()[:1024].decode(errors="ignore").encode())
        sys.exit(f"error: {error}")


def parser() -> argparse.ArgumentParser:
    """What the job is called with."""
    parser = argparse.ArgumentParser(prog="drift", description=__doc__)
    parser.add_argument("--input-evaluation", type=Path, required=True, help="folder of the champion's evaluation")
    parser.add_argument("--output-report", type=Path, required=True)
    parser.add_argument("--output-message", type=Path, required=True, help="file that says why there is no report")
    parser.add_argument("--report-uri", required=True, help="where that folder will lie")
    parser.add_argument("--capture-uri", required=True, help="folder of the variant's captured data")
    parser.add_argument("--labels-uri", required=True, help="folder of labels that come later, which may be empty")
    parser.add_argument("--own-id", default="", help="how the ids of requests begin that the platform itself makes")
    parser.add_argument("--model", required=True, help="the champion's package")
    parser.add_argument("--released-at", required=True, help="when the champion was released")
    parser.add_argument("--end", required=True, help="the end of the window")
    parser.add_argument("--window-s", type=int, required=True)
    parser.add_argument("--label-window-s", type=int, required=True)
    parser.add_argument("--min-rows", type=int, required=True)
    parser.add_argument("--min-labels", type=int, required=True)
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--max-psi", type=float, required=True)
    parser.add_argument("--max-auc-drop", type=float, required=True)
    return parser


def run(options: argparse.Namespace, capture: Objects, labels: Objects) -> None:
    """Read, measure, write."""
    baseline = read_baseline(options.input_evaluation)
    end, released = moment(options.end), moment(options.released_at)
    inputs, labelled = (
        window_before(end, length=timedelta(seconds=length), released=released)
        for length in (options.window_s, max(options.window_s, options.label_window_s))
    )
    truth = GroundTruth(baseline.classes)
    # What was true of an answer is not told before it was given.
    told = sorted(
        (
            found
            for found in labels.below()
            if found.written >= labelled.start and found.key.endswith((CSV, JSON_LINES))
        ),
        key=lambda found: found.written,
    )
    for found in told:
        truth.add(found.key, labels.chunks(found.key))
    truth.ready()

    def files(*, earlier: bool) -> Iterator[Iterator[bytes]]:
        for day in (labelled if earlier else inputs).days():
            keys = [found.key for found in capture.below(day)]
            current = inputs.picks(keys, capture.prefix)
            wanted = sorted({*labelled.picks(keys, capture.prefix)} - {*current}) if earlier else current
            yield from map(capture.chunks, wanted)

    span = Span(inputs, labelled, released)
    watch = Watch(baseline, span, truth, own_id=options.own_id)
    watch.read(files(earlier=False))
    if truth.offered:
        watch.read(files(earlier=True), earlier=True)
    policy = Policy(
        min_rows=options.min_rows,
        min_labels=options.min_labels,
        alpha=options.alpha,
        max_psi=options.max_psi,
        max_auc_drop=options.max_auc_drop,
    )
    document = report(watch, baseline, span=span, policy=policy, model=options.model)
    short = summary(document, report_uri=f"{options.report_uri}{PAGE_FILE}")
    options.output_report.mkdir(parents=True, exist_ok=True)
    for name, content in ((REPORT_FILE, document), (SUMMARY_FILE, short)):
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        (options.output_report / name).write_text(text, encoding="utf-8")
    (options.output_report / PAGE_FILE).write_text(render(document), encoding="utf-8")
    print(short["message"])


if __name__ == "__main__":
    main()
