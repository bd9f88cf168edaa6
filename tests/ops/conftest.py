"""The compiled engine on every instruction set of this processor, and both dtypes."""

import numpy as np
import pytest

from spconv.ops import CpuOps
from spconv.ops.cpu import INSTRUCTION_SETS, convolution


@pytest.fixture(params=INSTRUCTION_SETS)
def ops(request):
    if INSTRUCTION_SETS.index(request.param) > convolution.best_isa():
        pytest.skip(f"this processor has no {request.param}")
    return CpuOps(request.param)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param
