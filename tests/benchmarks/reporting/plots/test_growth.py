import networks
import numpy as np
from canned import canned
from reporting.plots import growth
from reporting.tables import all_tables

import spconv
from spconv.models import DeepCNet


def test_costs_are_relative_to_the_smallest_field():
    records = canned(torch=True)["networks"].records
    found = growth.growths(records)
    assert found["multiply-adds"] == {"sparse": [(48, 1), (96, 2)], "dense": [(48, 1), (96, 4)]}
    assert found["time of a training step"]["dense"][-1] == (96, 4)
    assert growth.ink_and_area(records) == {
        "ink": [(48, 1), (96, 1)],
        "area": [(48, 1), (96, 4)],
    }
    text = growth.growth_finding(records).replace("\N{MULTIPLICATION SIGN}", "x")
    assert "1.0x the ink and 2.0x the sparse work, but 4x the area and 4.0x the dense work" in text


def test_counted_work_is_recorded_and_shown():
    x = spconv.from_dense(np.eye(12, dtype="float32")[None, None], ground_state=[0.0])
    counted = spconv.summary(DeepCNet(2, 2, 1, 3), x)
    sparse, dense = networks.work_records(counted, {"x": 12})
    # 12 -> 10 -> 5 -> 4 -> 2 -> 1 sites along an edge; 2, 4 and 6 filters, 3 classes.
    assert dense.case["multiply_adds"] == 10**2 * 18 + 4**2 * 4 * 8 + 4 * 24 + 18
    assert 0 < sparse.case["multiply_adds"] < dense.case["multiply_adds"]
    table = next(t for t in all_tables(canned()) if t.name == "networks_growth")
    assert [row[1:5] for row in table.rows][-1] == ["125", "9,216", "0.01", "0.01"]


def test_without_dense_the_plot_asks():
    sparse = [r for r in canned()["networks"].records if r.implementation == "sparse"]
    assert growth.growth_finding(sparse).endswith("?")
