"""The measured setups as an SVG: images a second against the 95th percentile of the latency."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from maskserve_tools.tune.setups import Figures, Setup

_WIDTH, _HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 250, 40, 52
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8a8a8a")
_STEPS = (1, 2, 5)


def plot(measured: Sequence[Figures], chosen: Setup, *, title: str, latency: float | None = None) -> str:
    """Return an SVG with a line for each setup, a point for each number of clients.

    Args:
        measured: the setups; those with a problem are left out.
        chosen: drawn thicker.
        title: above the plot.
        latency: seconds, a line across; None for none.
    """
    shown = [figures for figures in measured if not figures.problem]
    points = [point for figures in shown for point in figures.points.values()]
    high_x = _ceiling(max([point.p95 * 1e3 for point in points] + ([latency * 1e3] if latency else [])))
    high_y = _ceiling(max(point.rate for point in points))

    def at(p95: float, rate: float) -> tuple[float, float]:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + width * p95 * 1e3 / high_x, _HEIGHT - _BOTTOM - height * rate / high_y

    parts = [*_axes(high_x, high_y, title)]
    if latency is not None:
        x, _ = at(latency, 0)
        parts.append(_line(x, _TOP, x, _HEIGHT - _BOTTOM, "#b00000", dashed=True))
    for number, figures in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        width = 3.0 if figures.setup == chosen else 1.2
        places = [at(point.p95, point.rate) for _, point in sorted(figures.points.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        for (clients, point), (x, y) in zip(sorted(figures.points.items()), places, strict=True):
            what = f"{figures.setup}; {clients} clients: {point.rate:.2f} images/s, p95 {point.p95 * 1e3:.0f} ms"
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2 + width:.1f}" fill="{colour}">'
                f"<title>{escape(what)}</title></circle>"
            )
        y = _TOP + 16 * number
        weight = "bold" if figures.setup == chosen else "normal"
        parts.append(_line(_WIDTH - _RIGHT + 14, y, _WIDTH - _RIGHT + 30, y, colour))
        parts.append(_text(_WIDTH - _RIGHT + 36, y + 4, str(figures.setup), size=11, weight=weight))
    height = max(_HEIGHT, _TOP + 16 * len(shown) + 20)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _axes(high_x: float, high_y: float, title: str) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [_text(_LEFT, 22, title, size=14, weight="bold")]
    parts += [_line(_LEFT, bottom, right, bottom, "#444"), _line(_LEFT, _TOP, _LEFT, bottom, "#444")]
    for step in range(6):
        x = _LEFT + (right - _LEFT) * step / 5
        y = bottom - (bottom - _TOP) * step / 5
        parts.append(_text(x, bottom + 18, f"{high_x * step / 5:g}", anchor="middle"))
        parts.append(_text(_LEFT - 8, y + 4, f"{high_y * step / 5:g}", anchor="end"))
        parts.append(_line(_LEFT, y, right, y, "#e4e4e4"))
    parts.append(_text((_LEFT + right) / 2, bottom + 40, "95th percentile of the latency, ms", anchor="middle"))
    parts.append(_text(_LEFT, _TOP - 6, "images a second"))
    return parts


def _ceiling(value: float) -> float:
    """Return the next round number, so that an axis of five steps has round labels."""
    scale = 1.0
    while scale * 10 <= value:
        scale *= 10
    while scale > value:
        scale /= 10
    return next(step * scale for step in (*_STEPS, 10) if step * scale >= value)


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}"{dashes}/>'


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
