"""Puts this folder on the path, for the runs that its tests share."""

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.append(HERE)


@pytest.fixture(scope="module", params=["make_sgd", "make_adam"])
def uninterrupted(request, tmp_path_factory):
    """Folder, optimizer and results of a run that nothing stopped."""
    import training_runs

    folder = tmp_path_factory.mktemp("uninterrupted")
    make_optimizer = getattr(training_runs, request.param)
    return folder, make_optimizer, training_runs.run(folder, make_optimizer)
