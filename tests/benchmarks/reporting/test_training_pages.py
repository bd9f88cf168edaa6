import doctest
from dataclasses import replace

import pytest
from canned import MACHINE
from canned_training import canned_training
from harness import packing
from harness.measuring import Record
from harness.results import Section
from matplotlib.figure import Figure
from reporting import pages
from reporting.findings import headlines
from reporting.plots import PLOTS
from reporting.tables import all_tables
from reporting.views import training
from reporting.views.training import DROPOUT, by_setting


@pytest.fixture
def drawn_once(monkeypatch):
    """Every plot is drawn for its SVG; `test_pages.py` also draws those of its sections as PNG."""
    save = Figure.savefig

    def only_svg(figure, path, **options):
        if path.suffix == ".png":
            path.write_bytes(b"")
        else:
            save(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", only_svg)


@pytest.mark.parametrize("module", [packing, training], ids=lambda m: m.__name__)
def test_examples_in_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("section", list(canned_training()))
def test_any_one_section_makes_a_report(section, tmp_path):
    page = pages.write(tmp_path, {section: canned_training()[section]})
    assert page.stat().st_size > 10_000
    assert len(list((tmp_path / "plots").glob("*.png"))) == sum(p.section == section for p in PLOTS)


def test_the_findings_are_those_of_the_records():
    pictures, pretrained, dropout, dropout_time, pooling, vgg, features, pendigits = headlines(
        canned_training()
    )
    assert pictures.startswith("DeepCNet(5, 60) needs 13")
    assert pretrained == "Test error of the shipped weights: MNIST 0.33 %."
    assert "without dropout 0.82 %" in dropout
    assert "at best 0.62 %" in dropout
    assert "(elementwise rising 0.5)" in dropout
    assert "batchwise trains 2.0\N{MULTIPLICATION SIGN} as fast" in dropout_time
    assert "fractional: FMP1.41, 0.82 %" in pooling
    assert "10 % of the dense" in pooling
    assert vgg == "Test error on Assamese characters: 2.00 % (VGG+, k = 8), 3.00 % (dense CNN)."
    assert features.endswith("2.10 % (occupancy), 3.10 % (direction).")
    assert pendigits.endswith("pen digits: 2.20 % (DeepCNet, direction), 3.20 % (dense CNN).")


def test_the_time_of_dropout_is_that_of_a_level_with_both_kinds():
    results = canned_training()
    section = results["mnist-dropout"]
    lost = ("constant", "batchwise", 0.5)
    kept = [r for r in section.records if tuple(r.case[name] for name in DROPOUT) != lost]
    results["mnist-dropout"] = replace(section, records=kept)
    (text,) = (line for line in headlines(results) if "batchwise trains" in line)
    assert text.startswith("With dropout 0.2 everywhere, batchwise trains 1.2")


def test_an_epoch_lasts_as_long_as_its_steps_where_they_were_timed():
    records = canned_training()["mnist-dropout"].records
    key = ("rising", "batchwise", 0.5)
    assert by_setting(records, DROPOUT)[key].epoch_seconds == 600 * 10 / 1000
    untimed = [record for record in records if record.experiment == "training"]
    assert by_setting(untimed, DROPOUT)[key].epoch_seconds == 20.0


def test_tables_hold_what_was_counted():
    tables = {table.name: table for table in all_tables(canned_training())}
    network = tables["mnist_slow_pooling"].rows[1]
    assert network[0] == "fractional: FMP1.41"
    assert network[-4:] == ["0.01", "0.1", "0.8", "\N{EN DASH}"]
    layers = tables["mnist_slow_pooling_layers"].rows
    assert len(layers) == 4
    assert layers[0][3:] == ["100.0", "10 %", "10,000", "100,000"]
    assert [row[3] for row in tables["pretrained"].rows] == ["one", "12 copies"]
    assert [row[4] for row in tables["pretrained"].rows] == ["0.33 %", "0.30 %"]


def test_the_table_names_what_diverged():
    results = canned_training()
    lost = {"depth": "constant", "kind": "batchwise", "rate": 0.5, "seed": 3, "why": "nan"}
    results["mnist-dropout"].records.append(Record("diverged", "", "training", lost))
    (table,) = (t for t in all_tables(results) if t.name == "mnist_dropout")
    assert table.note.endswith("did not stay finite: constant batchwise 0.5 (seed 3).")


@pytest.mark.usefixtures("drawn_once")
def test_without_weights_the_other_pictures_are_drawn(tmp_path):
    need_weights = ("filters", "confusions")
    records = [r for r in canned_training()["pictures"].records if r.experiment not in need_weights]
    pages.write(tmp_path, {"pictures": Section("quick", 1.0, MACHINE, records)})
    drawn = {path.stem for path in (tmp_path / "plots").glob("*.png")}
    assert drawn == {"climb", "samples", "assamese_strokes", "pendigits_strokes", "encodings"}


def test_a_comparison_shows_error_work_and_memory():
    tables = [table for table in all_tables(canned_training()) if table.name == "assamese_vgg"]
    networks, layers = tables
    assert networks.rows[0][2:4] == ["2.00 %", "1.80 to 2.20 %"]
    assert networks.rows[0][-4:] == ["2", "20", "4.0", "123"]
    assert "Wilson" in networks.note
    assert layers.rows[0][-2:] == ["2,000,000", "20,000,000"]
