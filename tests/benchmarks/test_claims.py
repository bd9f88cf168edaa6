"""The page of claims holds the numbers of the committed results and of the shipped recipes."""

import doctest
import re

import claims
import pytest
from harness import results as results_file
from plans.recipes import RECIPES
from reporting.claims import numbers

NAMES = {name: recipe.constructor.__name__ for name, recipe in RECIPES.items()}


@pytest.fixture
def committed(benchmarks_folder):
    return benchmarks_folder / "results" / "experiments"


def test_examples_in_the_docstrings():
    assert doctest.testmod(numbers).failed == 0


def test_the_committed_page_is_made_of_the_committed_results(committed):
    expected = claims.page(results_file.read(committed / "results.json"))
    assert (committed / "CLAIMS.md").read_text() == expected


@pytest.mark.parametrize("name", RECIPES)
def test_published_errors_are_those_of_the_recipes(name, committed, benchmarks_folder):
    found = RECIPES[name].info()["test_errors"]
    low, high = (100 * bound for bound in found["interval"])
    text = f"{100 * found['error']:.2f} % ({low:.2f} to {high:.2f})"
    for page in (benchmarks_folder / "README.md", benchmarks_folder.parent / "README.md"):
        (row,) = re.findall(rf"^\| `{NAMES[name]}`.*$", page.read_text(), re.MULTILINE)
        assert text in row, page
    evaluated = {
        record.case["network"]: record.case["results"][0]
        for record in results_file.read(committed / "results.json")["pretrained"].records
    }[name]
    assert (evaluated["errors"], evaluated["samples"]) == (found["errors"], found["samples"])


def test_nothing_is_claimed_without_results():
    page = claims.page({})
    verdicts = re.findall(r"\*\*(.*?)\*\*", page)
    assert len(verdicts) == len(claims.CLAIMS)
    shipped = 2
    assert sum(verdict not in ("not run", "not attempted") for verdict in verdicts) == shipped
