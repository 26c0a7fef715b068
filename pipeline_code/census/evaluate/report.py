"""report.html: one page that a person reads before approving a model; it needs no other file and no network."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .metrics import METRICS

STYLE = """
:root { color-scheme: light; --ink: #1e293b; --pale: #64748b; --line: #e2e8f0; --good: #15803d; --bad: #b91c1c; }
* { box-sizing: border-box; }
body { margin: 0; background: #f1f5f9; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0 0 10px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 18px 22px; margin-top: 16px; }
.verdict { border-left: 8px solid var(--good); } .verdict.refused { border-left-color: var(--bad); }
.verdict h1 { color: var(--good); } .verdict.refused h1 { color: var(--bad); }
p { margin: 6px 0; } ul { margin: 6px 0; padding-left: 20px; } .pale { color: var(--pale); }
.warning { border-left: 8px solid #d97706; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: right; }
th { color: var(--pale); font-weight: 500; font-size: 13px; } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child, .left { text-align: left; }
tr.bad td { background: #fef2f2; color: var(--bad); }
.words td:last-child { text-align: left; color: var(--pale); font-size: 13px; }
td { white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 12px; }
.plots svg { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; }
"""


def render(report: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """The page; `plots` are SVG texts by name."""
    passed = report["gate"]["passed"]
    dataset = report["dataset"]
    sections = [
        f'<section class="verdict{"" if passed else " refused"}">'
        f"<h1>{'The gate is passed' if passed else 'The gate is shut'}</h1>"
        f"{_list(report['gate']['reasons'])}<p>Rule: {escape(report['gate']['rule'])}.</p>"
        f'<p class="pale">Challenger: the {escape(report["challenger"]["source"])} model, judged on a holdout of '
        f"{dataset['rows']:,} rows, {dataset['positives'] / dataset['rows']:.1%} of them positive.</p></section>",
    ]
    if report["warnings"]:
        sections.append(f'<section class="warning"><h2>Mind this</h2>{_list(report["warnings"])}</section>')
    sections.append(f"<section><h2>Metrics</h2>{_metrics(report)}{_sentences(report)}</section>")
    if report["segments"]:
        sections.append(f"<section><h2>Segments</h2>{_segments(report['segments'])}</section>")
    drawings = "".join(plots.values())
    sections.append(f'<section><h2>Plots</h2><div class="plots">{drawings}</div></section>')
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def _metrics(report: Mapping[str, Any]) -> str:
    models: dict[str, Mapping[str, Any]] = {"baseline": report["baseline"]["metrics"]}
    if report["champion"]:
        models = {"champion": report["champion"]["metrics"], **models}
    rows = []
    for name in METRICS:
        own = report["binary_classification_metrics"][name]
        cells = [_number(own["value"]), _number(own["standard_deviation"])]
        rows.append([escape(name.replace("_", " ")), *cells, *(_number(values[name]) for values in models.values())])
    return _table(["", "challenger", "standard deviation", *models], rows)


def _sentences(report: Mapping[str, Any]) -> str:
    texts = [report[name]["sentence"] for name in ("champion", "tuning") if report[name]]
    texts.append(f"Baseline: {report['baseline']['description']}.")
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _segments(table: Sequence[Mapping[str, Any]]) -> str:
    rows, bad = [], []
    for row in table:
        ends = row["interval"]
        verdict = (row["note"] or "").partition(":")[0] or ("regression" if row["regression"] else "")
        rows.append(
            [
                f"{escape(row['column'])}: {escape(row['value'] or 'missing')}",
                f"{row['rows']:,}",
                f"{row['positives']:,}",
                _number(row["auc"]),
                _number(row["champion_auc"]),
                "" if row["difference"] is None else f"{row['difference']:+.4f}",
                "" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}",
                escape(verdict),
            ]
        )
        bad.append(row["regression"])
    head = ["segment", "rows", "positives", "AUC", "champion's", "difference", "interval", ""]
    note = (
        '<p class="pale">A regression is a loss beyond the accepted one whose whole interval lies below zero; the '
        "intervals are widened for the number of segments (Bonferroni).</p>"
    )
    return _table(head, rows, bad=bad, kind="words") + note


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, bad: Sequence[bool] = (), kind: str = "") -> str:
    marks = [*bad, *[False] * (len(rows) - len(bad))]
    body = "".join(
        ("<tr class='bad'>" if mark else "<tr>") + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    names = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f'<table class="{kind}"><tr>{names}</tr>{body}</table>'


def _list(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"  # noqa: RUF001 - a dash for what cannot be told
