"""Networks as plain values say all: from them the same network can be built."""

import compare_networks
import numpy as np
import pytest
from harness.measuring import Budget
from peers.exported import export
from training import subjects

import spconv
from spconv import functional, layers
from spconv.models import SparseUNet, SparseVGG
from spconv.testing import random_sparse_tensor


def run(plain, arrays, x):
    """The network of a plain form, layer by layer."""
    for layer in plain:
        x = run_layer(layer, arrays, x)
    return x


def run_layer(layer, arrays, x):
    kind = layer["kind"]
    if "branches" in layer:
        parts = [run(branch, arrays, x) for branch in layer["branches"]]
        return functional.concat(parts) if kind == "concat" else sum(parts[1:], parts[0])
    if kind == "features":
        return x.features
    options = {name: layer[name] for name in ("kernel_size", "indice_key") if name in layer}
    if "Inverse" not in kind and "SubM" not in kind:
        options |= {name: layer[name] for name in ("stride", "padding") if name in layer}
    if "weight" in layer:
        weight = arrays[layer["weight"]]
        options |= {"bias": "bias" in layer} if kind != "BatchNorm" else {}
        inner = weight.shape[-2:] if kind != "BatchNorm" else weight.shape
        module = getattr(layers, kind)(*inner, **options)
        module.weight.data = weight
        if "bias" in layer:
            module.bias.data = arrays[layer["bias"]]
        return module(x)
    return getattr(layers, kind)(**options)(x)


def check(model, x):
    plain, arrays = export(model)
    expected = model(x).data
    assert sum(array.size for array in arrays.values()) == sum(p.size for p in model.parameters())
    assert np.abs(run(plain, arrays, x).data - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_unet_comes_back_from_its_plain_form():
    x = random_sparse_tensor(np.random.default_rng(0), (9, 8, 8), 2, 4, 0.3, ground=False)
    x = spconv.SparseConvTensor(
        x.features.data.astype(np.float32), x.indices, x.spatial_shape, x.batch_size
    )
    check(SparseUNet((4, 6, 8), 4, 5), x)


def test_a_vgg_comes_back_from_its_plain_form():
    spec = [("C", 3), "MP", ("C", 4, 2), ("C", 3, 2), ("C3/2", 4)]
    grid = np.random.default_rng(0).random((2, 1, 31, 31)).astype(np.float32)
    check(SparseVGG(spec, 1, 5, field=31), spconv.from_dense(grid * (grid > 0.8)))


def keys(plain, wanted):
    for layer in plain:
        if layer["kind"] == wanted:
            yield layer["indice_key"]
        for branch in layer.get("branches", ()):
            yield from keys(branch, wanted)


def test_layers_on_the_same_sites_share_a_key():
    plain, _ = export(SparseUNet((4, 6, 8), 4, 5))
    submanifold = list(keys(plain, "SubMConv3d"))
    # Stem, two on every way down and up again: five on the finest sites, four, two.
    assert [submanifold.count(key) for key in dict.fromkeys(submanifold)] == [5, 4, 2]
    assert set(keys(plain, "SparseConv3d")) == set(keys(plain, "SparseInverseConv3d"))


@pytest.mark.parametrize(
    ("module", "error"),
    [(layers.Dropout(0.5), TypeError), (spconv.SubMConv2d(2, 2, 3, groups=2), ValueError)],
)
def test_what_has_no_plain_form_is_named(module, error):
    with pytest.raises(error, match="plain form"):
        export(spconv.SparseSequential(module))


@pytest.mark.slow
def test_an_interpreter_without_the_other_library_is_an_error_with_its_own_words(tmp_path):
    import sys

    with pytest.raises(SystemExit, match="ModuleNotFoundError"):
        compare_networks.compare(sys.executable, subjects.scan("tiny"), Budget(0.01, 1))
