import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from canned import MACHINE, canned
from canned_training import canned_training
from harness.measuring import Timing
from harness.results import Section
from reporting import pages
from reporting.findings import headlines
from reporting.plots import PLOTS
from reporting.tables import all_tables
from reporting.views.timings import TIMES

VOID = {"meta", "img", "br"}


class Checker(HTMLParser):
    """Fails on tags that are not closed, and collects where images come from."""

    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.sources.append(dict(attributes)["src"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    pages.write(folder, {**canned(torch=True), **canned_training()})
    return folder


@pytest.mark.slow
def test_the_page_holds_everything(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.sources) == len(PLOTS)
    for source in checker.sources:
        kind, data = source.split(",")
        assert kind == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(data)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "$" not in re.sub(r"base64,[^\"]*", "", page)
    assert "Made-up &lt;CPU&gt;" in page


@pytest.mark.slow
def test_markdown_shows_the_plots_that_were_written(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    images = re.findall(r"\]\((plots/[^)]*\.png)\)", text)
    assert len(images) == len(PLOTS)
    for image in images:
        assert (written / image).read_bytes().startswith(b"\x89PNG")
        assert (written / image).with_suffix(".svg").exists()
    for line in re.findall(r"^\|.*\|$", text, re.MULTILINE):
        assert len(line) > 10


def test_committed_reports_show_committed_plots(benchmarks_folder):
    reports = list((benchmarks_folder / "results").glob("*/report.md"))
    assert reports
    for path in reports:
        images = re.findall(r"\]\((plots/[^)]*\.png)\)", path.read_text(encoding="utf-8"))
        assert [image for image in images if not (path.parent / image).exists()] == []


@pytest.mark.slow
def test_the_same_results_give_the_same_plots(written, tmp_path):
    pages.write(tmp_path, {"networks": canned(torch=True)["networks"]})
    for name in ("networks.png", "networks.svg"):
        assert (tmp_path / "plots" / name).read_bytes() == (written / "plots" / name).read_bytes()


@pytest.mark.parametrize("torch", [True, False])
def test_the_stronger_baseline_is_named(torch):
    results = canned(torch=torch)
    name, other = ("dense PyTorch", "our dense layers")[:: 1 if torch else -1]
    lines = headlines(results)
    assert sum(name in line for line in lines) == 5
    assert not any(other in line for line in lines)
    tables = all_tables(results)
    assert all(
        ("PyTorch was not installed" in table.note) != torch for table in tables if table.note
    )


def test_speed_ups_are_over_the_stronger_baseline():
    # Sparse 24 ms a step on 96 x 96; NumPy 921.6, PyTorch a third of that.
    for torch, expected in ((False, "38"), (True, "13")):
        table = next(t for t in all_tables(canned(torch=torch)) if t.name == "networks")
        assert table.rows[-1][-1][:-1] == expected
        assert table.rows[-1][-3:-1] == ["922", "307" if torch else table.rows[0][-2]]


def torch_varies(section, is_slow):
    """A canned section in which PyTorch is ten times slower where ``is_slow`` says so."""

    def slower(record):
        if record.implementation != "torch" or not is_slow(record):
            return record
        return replace(record, timing=Timing(10 * record.timing.median_ms, 1.0, 5))

    made = canned(torch=True)[section]
    return {section: replace(made, records=[slower(record) for record in made.records])}


def told(results):
    return "\n".join(headlines(results)).replace(TIMES, "x")


def test_headlines_name_the_faster_baseline_of_every_row():
    # Dense steps of layers take 150 ms in NumPy, 50 or 500 in PyTorch; sparse ones 12 on 64x64.
    text = told(torch_varies("layers", lambda record: record.case["ndim"] == 3))
    assert (
        "trains 4.2x faster than dense PyTorch on 64x64, 12x faster than our dense layers" in text
    )
    assert "faster than dense PyTorch up to 21 % active sites in 2-D, than our dense layers" in text
    both = "as fast as the faster of our dense layers and dense PyTorch"
    assert f"With 8 to 16 channels, sparse trains 2.1x to 6.2x {both}" in text
    assert f"By kind of layer, sparse trains 2.1x to 6.2x {both}" in text
    text = told(torch_varies("networks", lambda record: record.case["x"] == 96))
    assert "6.4x faster than dense PyTorch on 48x48, 38x faster than our dense layers" in text


def test_captions_name_what_the_speed_ups_are_over():
    tables = all_tables(torch_varies("layers", lambda record: record.case["ndim"] == 3))
    for table in tables:
        own = "our dense layers" if "3-D" in table.title else "dense PyTorch"
        assert table.note.startswith(f"Speed-up: over {own}, rulebook included.")
        for row in table.rows:
            sparse, *dense = (float(row[n].replace(",", "")) for n in (-5, -3, -2))
            assert float(row[-1][:-1]) == pytest.approx(min(dense) / sparse, rel=0.05)
    for table in all_tables(torch_varies("layers", lambda record: record.case["x"] in (64, 16))):
        mixed = table.name in ("layers_grid", "layers_channels")
        both = "the faster of our dense layers and dense PyTorch"
        assert (f"Speed-up: over {both}, rulebook included." in table.note) == mixed


def test_plots_of_times_show_both_baselines():
    results = torch_varies("layers", lambda record: record.case["ndim"] == 3)
    plot = next(plot for plot in PLOTS if plot.name == "layers_grid")
    for axes in plot.draw(results["layers"].records).axes:
        labels = {line.get_label() for line in axes.get_lines()}
        assert {"our dense layers", "dense PyTorch"} <= labels


def test_what_was_left_out_is_said():
    notes = [table.note for table in all_tables(canned()) if table.name == "layers_grid"]
    assert "would need about 9.9 GB" in notes[0]


@pytest.mark.parametrize("data", ["MNIST", "synthetic strokes"])
def test_titles_name_the_data(data, tmp_path):
    results = {"mnist": canned(data=data)["mnist"]}
    pages.write(tmp_path, results)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"## Training on {data}\n" in text
    assert f"**Training on {data}**" in text
    assert f"Test error on {data}: DeepCNet 0.60 %" in text
    figure = next(plot for plot in PLOTS if plot.name == "mnist").draw(results["mnist"].records)
    assert data in figure.texts[0].get_text()


@pytest.mark.parametrize("section", ["rulebooks", "networks", "mnist"])
def test_any_one_section_makes_a_report(section, tmp_path):
    page = pages.write(tmp_path, {section: canned()[section]})
    assert page.stat().st_size > 10_000
    assert len(list((tmp_path / "plots").glob("*.png"))) == sum(p.section == section for p in PLOTS)


def test_a_report_of_skipped_measurements_asks_instead_of_telling(tmp_path):
    results = canned()
    sparse_only = [r for r in results["networks"].records if r.implementation == "sparse"]
    results["networks"] = Section("quick", 1.0, MACHINE, sparse_only)
    pages.write(tmp_path, {"networks": results["networks"]})
    assert headlines(results)[0].endswith("?")


def test_sections_from_different_machines_get_their_own_columns():
    results = canned()
    assert pages.machine_table(results).columns == ["", "all sections"]
    other = {**MACHINE, "cpu": "another", "date": "2027"}
    results["layers"] = Section("full", 1.0, other, results["layers"].records)
    table = pages.machine_table(results)
    assert table.columns == ["", *results]
    assert table.rows[0] == ["processor", "another", *["Made-up <CPU>"] * 3]
