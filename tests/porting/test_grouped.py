"""Transposed convolutions with groups, whose weights torch.nn lays out in a way of their own."""

import numpy as np
import pytest

import spconv
from spconv.porting import from_pytorch, to_pytorch

# inputs, outputs, groups: narrower and wider ones, one channel each, several outputs of one input
CHANNELS = [(4, 6, 2), (6, 4, 2), (6, 6, 3), (4, 4, 4), (3, 6, 3), (6, 3, 3)]
KERNELS = [(3,), (2, 3), (1, 1), (3, 1, 2)]


def stride_of(kernel):
    return min(max(kernel), 2)


def make(channels, kernel):
    inputs, outputs, groups = channels
    layer = getattr(spconv, f"SparseConvTranspose{len(kernel)}d")
    rng = np.random.default_rng(1)
    return layer(inputs, outputs, kernel, stride_of(kernel), groups=groups, rng=rng)


def example(channels, ndim):
    rng = np.random.default_rng(0)
    shape = (4, 5, 3)[:ndim]
    active = rng.random((2, 1, *shape)) < 0.4
    grid = rng.standard_normal((2, channels[0], *shape)) * active
    return spconv.from_dense(grid, ground_state=np.zeros(channels[0]))


def group_by_group(theirs, channels, kernel, x):
    """Every group is a transposed convolution of its own of its share of the rows of the weight."""
    inputs, outputs, groups = channels
    weights, biases = np.split(theirs["weight"], groups), np.split(theirs["bias"], groups)
    parts = np.split(x.dense().data, groups, axis=1)
    results = []
    for weight, bias, part in zip(weights, biases, parts, strict=True):
        layer = make((inputs // groups, outputs // groups, 1), kernel)
        state = {"weight": weight, "bias": bias}
        layer.load_state_dict(from_pytorch(state, layer, "KCRS"))
        one = spconv.from_dense(part, ground_state=np.zeros(inputs // groups))
        results.append(layer(one).dense().data)
    return np.concatenate(results, axis=1)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("channels", CHANNELS, ids=str)
def test_every_group_gets_its_weights(channels, kernel):
    inputs, outputs, groups = channels
    rng = np.random.default_rng(0)
    theirs = {
        "weight": rng.standard_normal((inputs, outputs // groups, *kernel)),
        "bias": rng.standard_normal(outputs),
    }
    layer, x = make(channels, kernel), example(channels, len(kernel))
    layer.load_state_dict(from_pytorch(theirs, layer, "KCRS"))
    expected = group_by_group(theirs, channels, kernel, x)
    np.testing.assert_allclose(layer(x).dense().data, expected, rtol=1e-12, atol=1e-12)
    for path, array in to_pytorch(layer, "KCRS").items():
        np.testing.assert_array_equal(array, theirs[path])
        assert array.flags.c_contiguous


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("channels", [*CHANNELS, (4, 6, 1)], ids=str)
def test_torch_gives_the_same_both_ways(channels, kernel):
    torch = pytest.importorskip("torch")
    inputs, outputs, groups = channels
    kind = getattr(torch.nn, f"ConvTranspose{len(kernel)}d")
    there = kind(inputs, outputs, kernel, stride_of(kernel), groups=groups).double()
    here, x = make(channels, kernel), example(channels, len(kernel))
    here.load_state_dict(from_pytorch(there.state_dict(), here, "KCRS"))

    def same():
        expected = there(torch.from_numpy(x.dense().data)).detach().numpy()
        np.testing.assert_allclose(here(x).dense().data, expected, rtol=1e-12, atol=1e-12)

    same()
    here = make(channels, kernel).astype(np.float64)
    state = to_pytorch(here, "KCRS")
    there.load_state_dict({path: torch.from_numpy(array) for path, array in state.items()})
    same()


def test_groups_of_the_forward_kind_have_the_outputs_first():
    torch = pytest.importorskip("torch")
    there = torch.nn.Conv2d(4, 6, (2, 3), groups=2).double()
    here, x = spconv.SparseConv2d(4, 6, (2, 3), groups=2), example((4, 6, 2), 2)
    here.load_state_dict(from_pytorch(there.state_dict(), here, "KCRS"))
    expected = there(torch.from_numpy(x.dense().data)).detach().numpy()
    np.testing.assert_allclose(here(x).dense().data, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["KRSC", "RSCK", "RSKC"])
def test_layouts_of_layers_without_groups_have_no_axes_for_them(layout):
    net = spconv.SparseSequential(spconv.SubMConv2d(3, 4, 3), make((4, 4, 2), (2, 2)))
    state = to_pytorch(net, "KCRS")
    message = rf"layout='{layout}' has no axes .* with groups, got 1\.weight; pass layout='KCRS'"
    with pytest.raises(ValueError, match=f"from_pytorch: {message}"):
        from_pytorch(state, net, layout)
    with pytest.raises(ValueError, match=f"to_pytorch: {message}"):
        to_pytorch(net, layout)
    part = {f"0.{path}": array for path, array in to_pytorch(net[0], layout).items()}
    assert from_pytorch(part, net, layout, strict=False).keys() == part.keys()


def test_a_grouped_weight_of_another_shape_is_named():
    layer = make((4, 6, 2), (2, 3))
    state = {**to_pytorch(layer, "KCRS"), "weight": np.zeros((4, 6, 2, 3))}
    message = r"weight has shape \(4, 6, 2, 3\), expected \(4, 3, 2, 3\)"
    with pytest.raises(ValueError, match=message):
        from_pytorch(state, layer, "KCRS")


@pytest.mark.parametrize("channels", [(4, 4, 1), (4, 6, 1), (6, 4, 2)], ids=str)
def test_an_inverse_layer_is_a_transposed_one_where_a_dense_network_was_there(channels):
    """From all sites of a coarse grid back to all of a fine one."""
    inputs, outputs, groups = channels
    rng = np.random.default_rng(0)
    theirs = {
        "weight": rng.standard_normal((inputs, outputs // groups, 2, 2)),
        "bias": rng.standard_normal(outputs),
    }
    down = spconv.SparseConv2d(1, inputs, 2, 2, indice_key="down").astype("float64")
    x = down(spconv.from_dense(rng.random((2, 1, 6, 4)) + 1))
    inverse = spconv.SparseInverseConv2d(inputs, outputs, 2, "down", groups=groups)
    transposed = spconv.SparseConvTranspose2d(inputs, outputs, 2, 2, groups=groups)
    for layer in (inverse, transposed):
        layer.load_state_dict(from_pytorch(theirs, layer, "KCRS"))
    expected = transposed(x).dense().data
    np.testing.assert_allclose(inverse(x).dense().data, expected, rtol=1e-12)
    back = to_pytorch(inverse, "KCRS")
    assert all(np.array_equal(back[path], array) for path, array in theirs.items())
