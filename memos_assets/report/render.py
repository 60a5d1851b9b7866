"""Write a report: as JSON, as one HTML file that needs nothing else, as a few lines of Markdown."""

import base64
import json
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from memos_assets.files import make_private, write_whole
from memos_assets.report import formatting
from memos_assets.report.charts import Chart
from memos_assets.report.indexes import latency_chart
from memos_assets.report.plots import Plot, phases_plot, reasons_plot, rows_plot
from memos_assets.report.tree import Report, as_content
from memos_assets.settings import Settings

#: Lines of the summary; the event log keeps every one of them for good.
_MOST_TO_DO = 10
_LATENCY_HEAD = (
    "| index | rows | recall@10 | search p50, ms | search p95 | exact scan p50 | exact scan p95 |"
)
_TEMPLATES = Path(__file__).with_name("templates")


@cache
def _environment() -> Environment:
    """Return the templates; every value is escaped, and a misspelt one is an error."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "breakable": _breakable,
        "clock": formatting.clock,
        "number": formatting.number,
        "plural": formatting.plural,
        "seconds": formatting.seconds,
        "size": formatting.size,
    }
    return environment


def _breakable(text: str) -> Markup:
    """Return text in which a line may break within a name: after ``_`` and ``/``, or somewhere."""
    pieces = re.findall(r"\s+|[^\s_/]{1,24}[_/]*|[_/]+", text)
    return Markup("<wbr>").join(pieces)


def as_json(report: Report) -> str:
    """Return the whole tree, names as in `tree`."""
    return json.dumps(as_content(report), indent=2, sort_keys=True) + "\n"


def as_html(report: Report) -> str:
    """Return one page without script and without outside resources, fit for A4."""
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            rows=rows_plot(report),
            reasons=reasons_plot(report),
            phases=phases_plot(report),
            latency=latency_chart(report.indexes),
        )
    )


def _literal(text: str) -> str:
    """Return text that Markdown shows as it is: text of a file makes neither link nor image."""
    return re.sub(r"([\\`*_{}\[\]()<>#!|~&])", r"\\\1", " ".join(text.split()))


def markdown_summary(report: Report) -> str:
    """Return the verdict, the things to do, and a plot, for Dagster's UI."""
    demo = "Demo data. " if any(source.is_demo for source in report.sources) else ""
    lines = [f"**{demo}{_literal(report.verdict.sentence)}**", ""]
    lines += [f"- {todo.subject}: {_literal(todo.what)}" for todo in report.to_do[:_MOST_TO_DO]]
    if len(report.to_do) > _MOST_TO_DO:
        lines.append(f"- and {len(report.to_do) - _MOST_TO_DO} more, in the file")
    plot = rows_plot(report)
    if plot.bars:
        lines += ["", picture(plot)]
    return "\n".join(lines)


def markdown_latency(report: Report) -> str | None:
    """Return how long searches and exact scans take, as a plot over rows and a table.

    None where nothing was measured.
    """
    plot = latency_chart(report.indexes)
    if not plot.series:
        return None
    lines = [picture(plot), "", _LATENCY_HEAD, "|---|" + "---:|" * 6]
    lines += [
        f"| {index.index} | {index.rows:,} | {index.recall} | {index.search_p50_ms} | "
        f"{index.search_p95_ms} | {index.scan_p50_ms} | {index.scan_p95_ms} |"
        for index in sorted(report.indexes, key=lambda index: -index.rows)
        if index.search_p50_ms
    ]
    return "\n".join(lines)


def picture(plot: Plot | Chart) -> str:
    """Return a drawing as a Markdown image that contains its data, for Dagster's UI."""
    template = "chart.svg.jinja" if isinstance(plot, Chart) else "plot.svg.jinja"
    drawing = _environment().get_template(template).render(plot=plot)
    encoded = base64.b64encode(drawing.encode()).decode()
    return f"![{plot.about}](data:image/svg+xml;base64,{encoded})"


def write_report(folder: Path, report: Report) -> Path:
    """Write ``<consolidation>.json`` and ``.html``; return the page's path."""
    make_private(folder)
    page = folder / f"{report.consolidation}.html"
    write_whole(page.with_suffix(".json"), as_json(report))
    write_whole(page, as_html(report))
    return page


def reports_folder(settings: Settings) -> Path:
    """Return the folder of the reports."""
    return settings.home / "reports"


def find_report(folder: Path, consolidation: str | None = None) -> Path | None:
    """Return the page of a consolidation, or the one written last; None where there is none."""
    pages = {page.stem: page for page in folder.glob("*.html")}
    if consolidation is not None:
        return pages.get(consolidation)
    return max(pages.values(), key=lambda page: page.stat().st_mtime_ns, default=None)
