"""What was measured, for people and for programs: a table, a page of Markdown, a CSV like model_analyzer's, a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_tools.tune.plot import plot
from maskserve_tools.tune.setups import Choice, Figures, Setup

REPORT, PLOT, CSV = "report.md", "plot.svg", "metrics-model-inference.csv"
# The column names of Triton's model_analyzer, for whoever has a program that reads them.
_COLUMNS = (
    "Model", "Layout", "Engine", "Precision", "Instance Group", "Threads", "Concurrency", "Satisfies Constraints",
    "Throughput (infer/sec)", "Median Latency (ms)", "p95 Latency (ms)", "CPU Time (ms/infer)", "RAM Usage (MB)",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a run.

    Attributes:
        model: the model's name.
        machine: the CPU and how many of it.
        images: how many images were sent.
        measured: all setups.
        current: what the entry had.
        choice: what was chosen.
        latency: seconds that were asked for; None for none.
    """

    model: str
    machine: str
    images: int
    measured: Sequence[Figures]
    current: Setup
    choice: Choice
    latency: float | None

    @property
    def in_order(self) -> list[Figures]:
        """The setups, the fastest for many clients first; those with a problem last."""

        def rate(figures: Figures) -> float:
            return -figures.points[max(figures.points)].relative if figures.points else 0.0

        return sorted(self.measured, key=rate)

    def verdict(self) -> str:
        """Return what was chosen and what it brings, in a sentence or two."""
        chosen, clients = self.choice.figures, self.choice.clients
        point = chosen.points[clients]
        asked = "" if self.latency is None else f" with a p95 of at most {self.latency * 1e3:g} ms"
        if not self.choice.within:
            return (
                f"No setup keeps to {self.latency_ms} ms. The lowest p95 is {point.p95 * 1e3:.0f} ms, of "
                f"{chosen.setup} with {clients} client(s)."
            )
        if chosen.setup == self.current:
            return (
                f"There is nothing to win{asked}: no setup answers over 2 % more images a second than the current one "
                f"({chosen.setup}), {point.rate:.2f} a second with {clients} client(s)."
            )
        return (
            f"The best{asked} is {chosen.setup}: {point.rate:.2f} images a second with {clients} client(s), "
            f"{point.relative - 1:+.0%} against {self.current}."
        )

    @property
    def latency_ms(self) -> str:
        """The latency that was asked for, in milliseconds."""
        return "" if self.latency is None else f"{self.latency * 1e3:g}"

    def rows(self) -> list[list[str]]:
        """Return the table's rows: a setup's name, figures for each number of clients, memory."""
        return [[self._mark(figures), *_cells(figures)] for figures in self.in_order]

    def _mark(self, figures: Figures) -> str:
        marks = [
            word
            for word, setup in (("chosen", self.choice.figures.setup), ("current", self.current))
            if figures.setup == setup
        ]
        return f"{figures.setup}{' (' + ', '.join(marks) + ')' if marks else ''}"

    def header(self) -> list[str]:
        """Return the table's header."""
        clients = sorted({count for figures in self.measured for count in figures.points})
        return ["setup", *(f"{count} client{'s' * (count > 1)}: images/s, p95 ms" for count in clients), "against current", "CPU ms", "MB", "turns"]  # fmt: skip  # noqa: E501

    def markdown(self) -> str:
        """Return the report as Markdown."""
        header = self.header()
        lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
        for row in self.rows():
            lines.append("| " + " | ".join([*row, *[""] * (len(header) - len(row))]) + " |")
        return (
            f"# {self.model} on {self.machine}\n\n{self.verdict()}\n\n"
            f"{self.images} images, sent by clients that ask without a pause. The setups took turns; figures are "
            "medians of the turns. A setup is: layout, engine, precision, instances x threads of one run. *Against "
            "current* is the rate for the most clients, as a share of the current setup's in the same turns; *CPU ms* "
            "the server's processor time for an image; *MB* the memory of the model's processes.\n\n"
            + "\n".join(lines)
            + f"\n\n![images a second against latency]({PLOT})\n"
        )

    def table_csv(self) -> str:
        """Return a row for each setup and number of clients, as model_analyzer's `metrics-model-inference.csv`."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(_COLUMNS)
        for figures in self.in_order:
            for clients, point in sorted(figures.points.items()):
                setup = figures.setup
                within = self.latency is None or point.p95 <= self.latency
                writer.writerow([
                    self.model, setup.layout, setup.engine, setup.precision, f"{setup.instances}:CPU", setup.threads,
                    clients, "Yes" if within else "No", f"{point.rate:.3f}", f"{point.median * 1e3:.3f}",
                    f"{point.p95 * 1e3:.3f}", f"{point.cpu * 1e3:.2f}", f"{figures.memory / 1e6:.0f}",
                ])  # fmt: skip
        return text.getvalue()

    def write(self, folder: Path) -> None:
        """Write report, plot and CSV into a folder.

        Raises:
            ToolError: they cannot be written.
        """
        drawn = plot(
            self.in_order, self.choice.figures.setup, title=f"{self.model} on {self.machine}", latency=self.latency
        )
        try:
            for name, text in ((REPORT, self.markdown()), (PLOT, drawn), (CSV, self.table_csv())):
                (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ToolError(f"{folder} cannot be written: {error}") from error


def _cells(figures: Figures) -> list[str]:
    if figures.problem:
        return [figures.problem]
    points = [point for _, point in sorted(figures.points.items())]
    most = points[-1]
    return [
        *(f"{point.rate:.2f}, {point.p95 * 1e3:.0f}" for point in points),
        f"{most.relative:.2f}",
        f"{most.cpu * 1e3:.0f}",
        f"{figures.memory / 1e6:.0f}",
        str(figures.turns),
    ]
