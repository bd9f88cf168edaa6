import doctest
import math

import numpy as np
import pytest
from reporting import spread


def test_examples_in_the_docstrings():
    assert doctest.testmod(spread).failed == 0


def test_one_group_gets_students_interval():
    values = [0.5, 0.7, 0.9]
    (mean,) = spread.means({"only": values}).values()
    assert mean.value == pytest.approx(0.7)
    # 4.303: Student's t for two degrees of freedom.
    assert mean.half == pytest.approx(4.303 * np.std(values, ddof=1) / math.sqrt(3), rel=1e-3)


def test_intervals_hold_the_true_mean_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(400):
        groups = {name: list(rng.normal(name, 1.0, size=3)) for name in range(5)}
        hits += [abs(m.value - name) <= m.half for name, m in spread.means(groups).items()]
    assert 0.93 < np.mean(hits) < 0.97
