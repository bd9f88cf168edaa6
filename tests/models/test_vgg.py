"""SparseVGG: SparseConvNet's Assamese network layer by layer, the notation, the errors."""

import re

import numpy as np
import pytest

import spconv
from spconv.models import PlusBlock, SparseVGG, assamese_vgg
from spconv.testing import random_sparse_tensor


def sizes(net, x):
    """(kind, channels, extent) behind every layer that changes them."""
    out = []
    for layer in net:
        x = layer(x)
        if isinstance(x, spconv.SparseConvTensor):
            out.append((type(layer).__name__, x.num_channels, x.spatial_shape[0]))
    return [entry for entry in out if entry[0] not in ("BatchNorm", "ReLU")]


def test_the_assamese_network():
    net = assamese_vgg()
    assert net.num_parameters() == 97_295
    x = random_sparse_tensor(np.random.default_rng(0), (95, 95), 1, 3, 0.02, ground=False)
    c, mp, plus = "SubMConv2d", "SparseMaxPool2d", "PlusBlock"
    assert sizes(net, x) == [
        (c, 8, 95),
        (c, 8, 95),
        (mp, 8, 47),
        (c, 16, 47),
        (c, 16, 47),
        (mp, 16, 23),
        (plus, 24, 23),
        (plus, 24, 23),
        (mp, 24, 11),
        (plus, 32, 11),
        (plus, 32, 11),
        (mp, 32, 5),
        ("SparseConv2d", 64, 1),
    ]
    for layer, following in zip(net, list(net)[1:], strict=False):
        if isinstance(layer, spconv.SubMConv2d | spconv.SparseConv2d | PlusBlock):
            assert isinstance(following, spconv.BatchNorm)
            assert following.statistics == "active"
    convolutions = [m for _, m in net.named_modules() if {"geometry", "weight"} <= vars(m).keys()]
    assert all(layer.bias is None for layer in convolutions)
    assert len(convolutions) == 4 + 4 * 4 + 1
    assert net[-1].weight.shape == (64, 183)


def test_the_plus_block():
    block = PlusBlock(2, 5, 4, 3, indice_key="down", rng=np.random.default_rng(0))
    shapes = [p.shape for name, p in block.named_parameters() if p.ndim == 3]
    assert shapes == [(9, 5, 4), (9, 5, 3), (9, 3, 3), (9, 3, 3)]
    x = random_sparse_tensor(np.random.default_rng(1), (9, 9), 2, 5, shuffle=True)
    y = block(x)
    assert y.num_channels == 7
    np.testing.assert_array_equal(y.indices, x.indices)
    np.testing.assert_array_equal(y.ground_state.data[4:], 0)
    assert (y.ground_state.data[:4] != 0).all()


def test_blocks_on_the_same_sites_share_their_rulebooks():
    net = SparseVGG([("C", 4, 2), ("C", 4, 2), "MP", ("C", 4, 2)], 3, 2, field=15)
    x = random_sparse_tensor(np.random.default_rng(1), (15, 15), 2, 3)
    net(x)
    geometries = [geometry for _, geometry in x.rulebooks._built]
    strided = [g for g in geometries if g.stride == (2, 2)]
    assert len(strided) == 2  # one for each level; the pooling uses that of the first


def test_two_networks_on_one_input_do_not_mix_their_rulebooks():
    x = random_sparse_tensor(np.random.default_rng(1), (23, 23), 2, 3)
    nets = [
        SparseVGG(["MP", ("C", 4, 2)], 3, 2, field=23),
        SparseVGG([("MP", 5, 2), ("MP", 2, 1), ("C", 4, 2)], 3, 2, field=23),
        SparseVGG([("C", 4, 2), "MP", ("C", 2), ("C", 4, 2)], 3, 2, field=23),
    ]
    for net in nets:
        fresh = spconv.SparseConvTensor(x.features, x.indices, x.spatial_shape, 2, x.ground_state)
        np.testing.assert_array_equal(net(x).data, net(fresh).data)


def test_other_entries():
    net = SparseVGG([("C3/2", 4), ("MP", 2, 2), ["C", 5]], 1, 3, field=13, dropout=0.5)
    x = random_sparse_tensor(np.random.default_rng(0), (13, 13), 1, 1)
    assert sizes(net, x) == [
        ("SparseConv2d", 4, 6),
        ("SparseMaxPool2d", 4, 3),
        ("SubMConv2d", 5, 3),
        ("SparseConv2d", 64, 1),
    ]
    assert [layer.p for layer in net if isinstance(layer, spconv.Dropout)] == [0.5]


@pytest.mark.parametrize(
    ("spec", "field", "options", "message"),
    [
        (
            ["MP"] * 4,
            96,
            {},
            "a field of 96 is not tiled by .*; the next larger field that is: 111",
        ),
        ([("C", 4, 4)], 4, {}, "a field of 4 is not tiled .* that is: 5"),
        ([], 0, {}, "a field of 0 is not tiled .* that is: 1"),
        (["C"], 9, {}, r"entry 0 must be 'MP', .* got 'C'"),
        ([("C", 8), ("C", 8, 4, 4)], 9, {}, r"entry 1 must be .* got \('C', 8, 4, 4\)"),
        ([("C", 0)], 9, {}, "with positive ints"),
        ([("MP", 2)], 9, {}, "entry 0 must be"),
        ([("D", 2)], 9, {}, "entry 0 must be"),
        ([("C", 2)], 9, {"ndim": 5}, r"SparseVGG: ndim must be in 1\.\.4, got 5"),
    ],
)
def test_errors(spec, field, options, message):
    with pytest.raises(ValueError, match=message):
        SparseVGG(spec, 1, 10, field, **options)


def test_inputs_of_another_kind():
    net = SparseVGG(["MP"], 1, 10, 9)
    x = spconv.from_dense(np.eye(11, dtype=np.float32)[None, None])
    with pytest.raises(ValueError, match=re.escape("expected spatial_shape (9, 9), got (11, 11)")):
        net(x)
    with pytest.raises(TypeError, match="SparseVGG: expected a SparseConvTensor, got Tensor"):
        net(x.dense())
