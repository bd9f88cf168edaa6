"""What layers say of themselves: all that they were made with, as long as it is not the default."""

import pytest

import spconv

KERNEL = "kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(1, 1)"


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (
            spconv.SparseConv2d(2, 4, 3, 2, 1, groups=2, bias=False, indice_key="a"),
            f"SparseConv2d(2, 4, {KERNEL}, groups=2, bias=False, indice_key='a')",
        ),
        (
            spconv.SparseInverseConv2d(2, 4, 3, "a", groups=2, bias=False),
            "SparseInverseConv2d(2, 4, kernel_size=(3, 3), groups=2, bias=False, indice_key='a')",
        ),
        (
            spconv.SparseConvTranspose2d(2, 4, 3, 2, 1, output_padding=(0, 1)),
            f"SparseConvTranspose2d(2, 4, {KERNEL}, output_padding=(0, 1))",
        ),
        (spconv.Conv2d(2, 4, 3, 2, 1), f"Conv2d(2, 4, {KERNEL})"),
        (spconv.Conv2d(2, 4, 3, 2, 1, bias=False), f"Conv2d(2, 4, {KERNEL}, bias=False)"),
        (spconv.Linear(2, 4), "Linear(2, 4)"),
        (spconv.Linear(2, 4, bias=False), "Linear(2, 4, bias=False)"),
        (
            spconv.SparseMaxPool2d(3, 2, 1, indice_key="a"),
            f"SparseMaxPool2d({KERNEL}, indice_key='a')",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_text(layer, text):
    assert repr(layer) == text


def test_a_rectifier_that_is_part_of_an_inverse_convolution():
    up = spconv.SparseInverseConv2d(2, 4, 3, "a")
    frozen = spconv.inference.freeze(spconv.SparseSequential(up, spconv.LeakyReLU(0.5)))
    assert "kernel_size=(3, 3), negative_slope=0.5, indice_key='a'" in repr(frozen)
