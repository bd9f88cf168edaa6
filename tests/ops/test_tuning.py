import pytest

import spconv


def test_switch():
    assert spconv.get_cuda_tuning() is False
    with pytest.raises(TypeError, match="set_cuda_tuning: expected True or False, got 'fast'"):
        spconv.set_cuda_tuning("fast")
    assert spconv.get_cuda_tuning() is False
