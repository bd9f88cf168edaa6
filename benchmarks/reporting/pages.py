"""``report.html`` (one file, images inside) and ``report.md`` from the results."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from harness.results import Results

from reporting.findings import headlines
from reporting.findings.timings import duration_text
from reporting.plots import Plot, draw_all
from reporting.table import Table
from reporting.table import markdown as table_text
from reporting.tables import all_tables

TEMPLATE = Path(__file__).with_name("report_template.html")
SECTIONS = {
    "pictures": "What the networks see",
    "pretrained": "Shipped weights",
    "networks": "A whole network",
    "mnist": "Training on {data}",
    "mnist-dropout": "Dropout on {data}",
    "mnist-slow-pooling": "Speed of pooling on {data}",
    "assamese-vgg": "{data}: networks",
    "assamese-features": "{data}: what a site knows of the pen",
    "pendigits": "{data}: DeepCNet",
    "layers": "Single layers",
    "rulebooks": "Rulebooks",
}
OPEN_TABLES = ("pretrained", "networks", "mnist")
MACHINE_ROWS = {
    "cpu": "processor",
    "cores": "cores",
    "threads": "threads used",
    "instruction_set": "instruction set of the kernels",
    "memory_gb": "memory (GB)",
    "system": "system",
    "python": "Python",
    "numpy": "NumPy",
    "blas": "BLAS of NumPy",
    "torch": "PyTorch",
    "spconv": "spconv",
    "date": "date",
    "load": "load before the start",
}
READING = (
    "Times are medians of several repeats after a warm-up call, in float32. Every dense layer and "
    "network was first checked to compute the same values as the sparse one it is compared with. "
    "Our dense layers run on the same microkernels as the sparse ones, with every site active; "
    "dense PyTorch means the same layers there, in the faster of its two memory layouts. "
    "Speed-ups are over the faster of the two, row by row; the tables show both. All raw numbers, "
    "minima and repeats included, are in results.json."
)


def write(folder: Path, results: Results) -> Path:
    """Draw the plots and write both reports; returns the path of the HTML one."""
    plots = draw_all(results, folder / "plots")
    tables = all_tables(results)
    (folder / "report.md").write_text(markdown(results, plots, tables), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(html(results, plots, tables, folder / "plots"), encoding="utf-8")
    return page


def heading(section: str, results: Results) -> str:
    """The section's heading; that of the training names the data."""
    data = {str(r.case["data"]) for r in results[section].records if "data" in r.case}
    return SECTIONS[section].format(data=" and ".join(sorted(data)))


def subtitle(results: Results) -> str:
    """What was run, how, and for how long."""
    parts = [
        f"{name} ({section.size}, {duration_text(section.seconds)})"
        for name, section in results.items()
    ]
    return "Runs: " + ", ".join(parts)


def machine_table(results: Results) -> Table:
    """The machine's description: one column if all sections share it, else one for each."""
    machines = {name: section.machine for name, section in results.items()}
    same = len({_identity(machine) for machine in machines.values()}) <= 1
    rows = []
    for key, title in MACHINE_ROWS.items():
        texts = [_text(machine.get(key)) for machine in machines.values()]
        if same:
            texts = list(dict.fromkeys(texts))
            texts = [texts[0] if len(texts) == 1 else f"{min(texts)} to {max(texts)}"]
        rows.append([title, *texts])
    columns = ["", "all sections"] if same else ["", *machines]
    return Table("machine", "Machine", columns, rows, num_words=len(columns))


def _identity(machine: dict[str, Any]) -> str:
    return repr({key: machine.get(key) for key in MACHINE_ROWS if key not in ("date", "load")})


def _text(value: Any) -> str:
    return "not installed" if value is None else str(value)


def markdown(results: Results, plots: Sequence[Plot], tables: Sequence[Table]) -> str:
    """The report for reading on a code host; images are in ``plots/``."""
    lines = ["# spconv benchmarks", "", subtitle(results), ""]
    lines += [f"- {line}" for line in headlines(results)]
    for section in SECTIONS:
        if section not in results:
            continue
        lines += ["", f"## {heading(section, results)}"]
        for plot in (p for p in plots if p.section == section):
            lines += ["", f"![{plot.caption}](plots/{plot.name}.png)", "", plot.caption]
            for table in (t for t in tables if t.name == plot.name):
                lines += ["", *_markdown_table(table)]
    lines += ["", "## Machine", "", *_markdown_table(machine_table(results)), "", READING, ""]
    return "\n".join(lines)


def _markdown_table(table: Table) -> list[str]:
    lines = table_text(table.columns, table.rows, table.num_words)
    title = [] if table.name == "machine" else [f"**{table.title}**", ""]
    return [*title, lines, *(["", table.note] if table.note else [])]


def html(results: Results, plots: Sequence[Plot], tables: Sequence[Table], folder: Path) -> str:
    """The report as one file; ``folder`` holds the plots that are put into it."""
    body = []
    for section in SECTIONS:
        if section not in results:
            continue
        body.append(f"<h2>{escape(heading(section, results))}</h2>")
        for plot in (p for p in plots if p.section == section):
            body.append(_html_figure(plot, folder))
            own = [_html_table(table) for table in tables if table.name == plot.name]
            if section in OPEN_TABLES:
                body += own
            elif own:
                body.append(f"<details><summary>Numbers</summary>{''.join(own)}</details>")
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        subtitle=escape(subtitle(results)),
        findings="\n".join(f"<li>{escape(line)}</li>" for line in headlines(results)),
        body="\n".join(body),
        machine=_html_table(machine_table(results)),
        reading=escape(READING),
    )


def _html_figure(plot: Plot, folder: Path) -> str:
    image = base64.b64encode((folder / f"{plot.name}.svg").read_bytes()).decode()
    caption = escape(plot.caption)
    source = f"data:image/svg+xml;base64,{image}"
    return (
        f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _html_table(table: Table) -> str:
    is_machine = table.name == "machine"
    title = "" if is_machine else f"<h3>{escape(table.title)}</h3>"
    head = _html_row("th", table.columns, table)
    rows = "\n".join(_html_row("td", row, table) for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'{title}<div class="scroll"><table><thead>{head}</thead>'
        f"<tbody>\n{rows}\n</tbody></table></div>{note}"
    )


def _html_row(tag: str, cells: Sequence[str], table: Table) -> str:
    row = []
    for number, (cell, column) in enumerate(zip(cells, table.columns, strict=True)):
        kind = "word" if number < table.num_words else "gain" if column == "speed-up" else ""
        attribute = f' class="{kind}"' if kind else ""
        row.append(f"<{tag}{attribute}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(row)}</tr>"
