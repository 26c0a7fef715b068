"""The evaluation as pictures: SVG text, the same bytes for the same numbers whatever library version drew it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from .logic import Holdout
from .metrics import are_probabilities, calibration, curves

WIDTH, HEIGHT = 460, 360
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 34, 46
COLOURS = {"challenger": "#2563eb", "champion": "#d97706", "baseline": "#94a3b8"}
INK, PALE, GRID = "#1e293b", "#64748b", "#e2e8f0"


class Line(NamedTuple):
    """A line of a chart in the unit square; dots mark its points."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    dots: bool = False


def draw_all(holdout: Holdout, report: Mapping[str, Any]) -> dict[str, str]:
    """Every plot by name: challenger, champion and baseline together where they can be compared."""
    models = {"challenger": holdout.challenger, "champion": holdout.champion, "baseline": holdout.baseline}
    drawn = {name: scores for name, scores in models.items() if scores is not None and are_probabilities(scores)}
    roc, precision_recall, calibrated = [], [], []
    for name, scores in drawn.items():
        found = curves(holdout.labels, scores)
        rates, both = found["receiver_operating_characteristic_curve"], found["precision_recall_curve"]
        tenths = calibration(holdout.labels, scores)
        roc.append(Line(name, rates["false_positive_rates"], rates["true_positive_rates"]))
        precision_recall.append(Line(name, both["recalls"], both["precisions"]))
        calibrated.append(Line(name, tenths["predicted"], tenths["observed"], dots=True))
    return {
        "roc": line_chart(roc, title="ROC", x="false positive rate", y="true positive rate", diagonal=True),
        "precision_recall": line_chart(precision_recall, title="Precision and recall", x="recall", y="precision"),
        "calibration": line_chart(
            calibrated,
            title="Calibration",
            x="mean score of a tenth of the rows",
            y="share of positives",
            diagonal=True,
        ),
        "confusion": confusion_chart(report["binary_classification_metrics"]["confusion_matrix"]),
        "importance": bar_chart(report["importance"], title="Importance (mean gain of a split)"),
    }


def line_chart(lines: Sequence[Line], *, title: str, x: str, y: str, diagonal: bool = False) -> str:
    """Lines in the unit square, named in a legend."""
    parts = []
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        at_x, at_y = _x(tick), _y(tick)
        parts += [
            f'<path d="M{at_x} {_y(0)}V{_y(1)}M{_x(0)} {at_y}H{_x(1)}" stroke="{GRID}"/>',
            _text(at_x, _y(0) + 16, f"{tick:g}", anchor="middle", colour=PALE),
            _text(_x(0) - 8, at_y + 4, f"{tick:g}", anchor="end", colour=PALE),
        ]
    if diagonal:
        parts.append(f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="{PALE}" stroke-dasharray="4 4"/>')
    for line in reversed(lines):  # the challenger on top
        points = [f"{_x(at):.1f} {_y(value):.1f}" for at, value in zip(line.xs, line.ys, strict=True)]
        colour = COLOURS[line.name]
        parts.append(
            f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round">'
            f"<title>{escape(line.name)}</title></path>"
        )
        if line.dots:
            parts += [
                f'<circle cx="{_x(at):.1f}" cy="{_y(value):.1f}" r="3.5" fill="{colour}">'
                f"<title>{escape(line.name)}: {at:.3f}, {value:.3f}</title></circle>"
                for at, value in zip(line.xs, line.ys, strict=True)
            ]
    for at, line in enumerate(lines):
        legend = WIDTH - RIGHT - 88 * (len(lines) - at)
        parts.append(f'<rect x="{legend}" y="{TOP - 19}" width="14" height="4" rx="2" fill="{COLOURS[line.name]}"/>')
        parts.append(_text(legend + 19, TOP - 13, line.name, colour=PALE))
    parts.append(_text((_x(0) + _x(1)) / 2, HEIGHT - 8, x, anchor="middle"))
    middle = (_y(0) + _y(1)) / 2
    turned = f'transform="rotate(-90 14 {middle:g})"'
    parts.append(_text(14, middle, y, anchor="middle", more=turned))
    return _svg(title, parts)


def confusion_chart(confusion: Mapping[str, Mapping[str, int]]) -> str:
    """Rows by truth and answer, darker where there are more of the true class."""
    parts = []
    for row, truth in enumerate(("0", "1")):
        total = sum(confusion[truth].values()) or 1
        parts.append(_text(LEFT + 8, TOP + 95 + row * 132, f"is {truth}", anchor="end", weight=600))
        for column, answer in enumerate(("0", "1")):
            count = confusion[truth][answer]
            share = count / total
            x, y = LEFT + 20 + column * 190, TOP + 26 + row * 132
            dark = share > 0.55
            parts += [
                f'<rect x="{x}" y="{y}" width="184" height="126" rx="8" fill="{COLOURS["challenger"]}" '
                f'fill-opacity="{0.08 + 0.85 * share:.3f}"/>',
                _text(
                    x + 92, y + 62, f"{count:,}", anchor="middle", size=24, colour="#fff" if dark else INK, weight=600
                ),
                _text(x + 92, y + 86, f"{share:.1%} of the {truth}s", anchor="middle", colour="#fff" if dark else PALE),
            ]
            if row == 0:
                parts.append(_text(x + 92, TOP + 16, f"scored as {answer}", anchor="middle", weight=600))
    return _svg("Confusion at 0.5", parts)


def bar_chart(values: Mapping[str, float], *, title: str) -> str:
    """A horizontal bar per value, the largest first."""
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    largest = max([value for _, value in ordered], default=0.0) or 1.0
    step = (HEIGHT - TOP - 16) / max(len(ordered), 1)
    parts = []
    for at, (name, value) in enumerate(ordered):
        y = TOP + 4 + at * step
        width = (WIDTH - 130 - 70) * value / largest
        parts += [
            _text(122, y + step / 2 + 4, name, anchor="end"),
            f'<rect x="130" y="{y + step * 0.15:.1f}" width="{width:.1f}" height="{step * 0.7:.1f}" rx="3" '
            f'fill="{COLOURS["challenger"]}"><title>{escape(name)}: {value:g}</title></rect>',
            _text(136 + width, y + step / 2 + 4, f"{value:,.1f}", colour=PALE),
        ]
    return _svg(title, parts)


def _svg(title: str, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(title)}" font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            _text(12, 20, title, size=14, weight=600),
            *parts,
            "</svg>\n",
        ]
    )


def _text(
    x: float,
    y: float,
    content: str,
    *,
    anchor: str = "start",
    size: int = 12,
    colour: str = INK,
    weight: int = 400,
    more: str = "",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}" {more}>{escape(content)}</text>'
    )


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
