"""The numbers behind the plots, as tables."""

from __future__ import annotations

from functools import partial

from harness.results import Results

from reporting.table import Table
from reporting.tables.timings import layer_tables, mnist_tables, network_tables, rulebook_tables
from reporting.tables.training import (
    comparison_tables,
    dropout_tables,
    pooling_tables,
    pretrained_tables,
)

BUILDERS = {
    "pretrained": pretrained_tables,
    "mnist-dropout": dropout_tables,
    "mnist-slow-pooling": pooling_tables,
    "assamese-vgg": partial(comparison_tables, "assamese_vgg"),
    "assamese-features": partial(comparison_tables, "assamese_features"),
    "pendigits": partial(comparison_tables, "pendigits"),
    "networks": network_tables,
    "mnist": mnist_tables,
    "layers": layer_tables,
    "rulebooks": rulebook_tables,
}


def all_tables(results: Results) -> list[Table]:
    """The tables of the sections that there are."""
    tables: list[Table] = []
    for section, build in BUILDERS.items():
        if section in results:
            tables += build(results[section].records)
    return tables
