import numpy as np
import pendigits_deepcnet
from training.peak_memory import own_peak_megabytes, peak_megabytes
from workloads.datasets import few_strokes


def test_the_memory_of_the_process_that_asks_is_not_counted():
    plan = pendigits_deepcnet.entries("tiny")[0].plan
    x, labels = next(iter(plan.loader(few_strokes().train, training=True)))
    held = np.ones(100_000_000)
    assert own_peak_megabytes() > held.nbytes / 1e6
    # An interpreter with NumPy takes more than 20 MB, this network little more.
    assert 20 < peak_megabytes(plan, x, labels) < 500
