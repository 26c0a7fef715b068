"""report.html: what a person reads before deciding; one page that needs no other file and no network."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light; --ink: #1e293b; --pale: #64748b; --line: #e2e8f0; --bad: #b91c1c; }
* { box-sizing: border-box; }
body { margin: 0; background: #f1f5f9; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0 0 10px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 18px 22px; margin-top: 16px; }
.verdict { border-left: 8px solid #15803d; } .verdict.moved { border-left-color: var(--bad); }
.verdict.unsaid { border-left-color: #d97706; }
p { margin: 6px 0; } .pale { color: var(--pale); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--pale); font-weight: 500; font-size: 13px; } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; }
tr.bad td { background: #fef2f2; color: var(--bad); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 12px; }
.plots svg { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; }
"""
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 320, 180, 10, 30, 24
BASELINE, LIVE = "#94a3b8", "#2563eb"


def render(report: Mapping[str, Any]) -> str:
    """The page."""
    decision = report["decision"]
    kind = "unsaid" if report["status"] != "measured" else "moved" if decision["choice"] != "nothing" else ""
    proposed = f"<p>Proposed: <b>{escape(decision['choice'])}</b>. {escape(decision['why'].capitalize())}.</p>"
    window = report["window"]
    sections = [
        f'<section class="verdict {kind}"><h1>{escape(report["sentence"])}</h1>'
        f"{proposed if decision['why'] else ''}"
        f'<p class="pale">Model {escape(report["model_package_arn"])}, released {escape(window["released_at"])}. '
        f"{_read(report['read'])}{_earlier(report['read_earlier'])}.</p></section>",
        f"<section><h2>Features and predictions</h2>{_table([*report['features'], report['predictions']])}"
        f'<p class="pale">Red is what moved: p after Holm\'s control below {report["policy"]["alpha"]:g} and PSI of at'
        f" least {report['policy']['max_psi']:g}.</p></section>",
        f"<section><h2>Labels and quality</h2>{_quality(report)}</section>",
        '<section><h2>Distributions</h2><p class="pale">Grey is what the model learned, blue what it was asked.</p>'
        f'<div class="plots">{"".join(map(_plot, [*report["features"], report["predictions"]]))}</div></section>',
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Drift</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def _read(read: Mapping[str, Any]) -> str:
    return (
        f"{read['files']:,} files, {read['lines']:,} lines, {read['corrupt_lines']:,} of them damaged"
        f"{escape(_because(read['reasons']))}"
    )


def _earlier(read: Mapping[str, Any]) -> str:
    return f"; for labels of earlier answers {_read(read)}" if read["files"] else ""


def _because(reasons: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{reason}: {count}' for reason, count in reasons.items())})" if reasons else ""


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ("", "PSI", "distance", "p", "missing before", "now", "unknown before", "now", "no number")
    body = []
    for row in rows:
        cells = [
            escape(row["name"]),
            f"{row['psi']:.3f}",
            f"{row['distance']:.3f} {'KS' if row['distance_name'].startswith('KS') else 'TV'}",
            "" if row["p_adjusted"] is None else f"{row['p_adjusted']:.2g}",
            *(f"{row[gap][when]:.2%}" for gap in ("missing", "unseen") for when in ("baseline", "live")),
            f"{row['invalid']:,}",
        ]
        mark = " class='bad'" if row["moved"] else ""
        body.append(f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    names = "".join(f"<th>{name}</th>" for name in head)
    unknown = "".join(
        f"<p>Unknown values of {escape(row['name'])}: {escape(', '.join(row['examples']))}</p>"
        for row in rows
        if row["examples"]
    )
    return f"<table><tr>{names}</tr>{''.join(body)}</table>{unknown}"


def _quality(report: Mapping[str, Any]) -> str:
    labels, quality = report["labels"], report["quality"]
    damaged = f"; {labels['corrupt_lines']:,} lines of ground truth are damaged" if labels["corrupt_lines"] else ""
    told = f"<p>{escape(labels['sentence'])}{damaged}{escape(_because(labels['reasons']))}.</p>"
    if quality["auc"] is None:
        return told
    rows = (
        ("AUC", quality["baseline_auc"], quality["auc"], quality["fell"]),
        ("accuracy", quality["baseline_accuracy"], quality["accuracy"], False),
        ("share of positives", labels["rate"]["baseline"], labels["rate"]["live"], labels["moved"]),
    )
    body = "".join(
        f"<tr{' class=bad' if bad else ''}><td>{name}</td><td>{_number(before)}</td><td>{_number(now)}</td></tr>"
        for name, before, now, bad in rows
    )
    return f"{told}<table><tr><th></th><th>holdout</th><th>live</th></tr>{body}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _plot(row: Mapping[str, Any]) -> str:
    """The shares of the bins side by side."""
    bins = row["bins"]
    top = max([*bins["baseline"], *bins["live"], 1e-9])
    step = (WIDTH - 2 * LEFT) / len(bins["names"])
    room = HEIGHT - TOP - BOTTOM
    parts = []
    for at, name in enumerate(bins["names"]):
        for offset, side, colour in ((0.08, "baseline", BASELINE), (0.5, "live", LIVE)):
            share = bins[side][at]
            height = room * share / top
            parts.append(
                f'<rect x="{LEFT + step * (at + offset):.1f}" y="{HEIGHT - BOTTOM - height:.1f}" '
                f'width="{step * 0.42:.1f}" height="{height:.1f}" fill="{colour}">'
                f"<title>{escape(name)}: {share:.2%} ({side})</title></rect>"
            )
    ends = f"{bins['names'][0]} ... {bins['names'][-1]}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(row["name"])}" font-family="system-ui, sans-serif">'
        f'<text x="{LEFT}" y="19" font-size="13" font-weight="600">{escape(row["name"])}</text>'
        f'<text x="{WIDTH - LEFT}" y="19" font-size="11" text-anchor="end" fill="#64748b">PSI {row["psi"]:.3f}</text>'
        f"{''.join(parts)}"
        f'<text x="{LEFT}" y="{HEIGHT - 8}" font-size="10" fill="#64748b">{escape(ends[:56])}</text></svg>'
    )
