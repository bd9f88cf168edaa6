"""Verdicts on the claims, from made-up results."""

from dataclasses import replace

import claims
import pytest
from canned_training import canned_training, comparison
from reporting.claims import verdicts as findings


def test_verdicts_follow_the_numbers():
    found = {claim.text: claim.find(canned_training()) for claim in claims.CLAIMS}

    def verdict(beginning):
        (finding,) = (f for text, f in found.items() if text.startswith(beginning))
        return finding.verdict

    assert verdict("There the sparse network is much faster") == findings.NO  # as fast
    assert (
        verdict("The first, second and even third") == findings.NO
    )  # direction has the higher error
    assert verdict("Dropout that rises") == findings.YES
    assert verdict("The same rate hurts less") == findings.YES
    assert verdict("Sparsity allows") == findings.YES


@pytest.mark.parametrize(
    ("error", "milliseconds", "verdict"),
    [(0.02, 200.0, "reproduced"), (0.02, 100.0, "not reproduced"), (0.01, 200.0, "not reproduced")],
)
def test_faster_means_three_times_at_a_comparable_error(error, milliseconds, verdict):
    sparse, dense = "VGG+, k = 8", "dense CNN"
    records = [
        record if record.case["variant"] == sparse else changed(record, error, milliseconds)
        for record in comparison("Assamese characters", [sparse, dense])
    ]
    assert findings.sparse_is_faster(records).verdict == verdict


def changed(record, error, milliseconds):
    if record.experiment == "step":
        return replace(record, timing=replace(record.timing, median_ms=milliseconds))
    interval = [0.9 * error, 1.1 * error]
    return replace(record, case={**record.case, "test_error": error, "interval": interval})
