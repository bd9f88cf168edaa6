"""residual_sum: what a convolution at the end adds itself, and what stays a sum behind it."""

import numpy as np
import pytest

import spconv
from spconv import functional, layers
from spconv.layers.containers import last_layer
from spconv.layers.frozen import FrozenConvolution
from spconv.layers.fusion import takes_residual
from spconv.models import ResidualBlock
from spconv.ops import CpuOps
from spconv.testing import assert_sparse_equal, random_sparse_tensor

with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
every_slope = pytest.mark.parametrize("slope", [None, 0.0, 0.3])


def seeded(make):
    """A layer in float64, the same at every call."""
    layer, rng = make(), np.random.default_rng(0)
    for parameter in layer.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return layer


def conv(cin=4, cout=4, **options):
    return spconv.SubMConv2d(cin, cout, 3, **options)


class Negated(spconv.SubMConv2d):
    def forward(self, x, keep=None):
        y = super().forward(x, keep=keep)
        return y.derive(-y.features, None if y.ground_state is None else -y.ground_state)


class Doubled(spconv.SparseSequential):
    def forward(self, x):
        y = super().forward(x)
        return y + y


class Called(spconv.SubMConv2d):
    def __call__(self, x, keep=None):
        y = super().__call__(x, keep=keep)
        return y + y


class Renamed(spconv.SubMConv2d):
    """Has nothing of its own but a name."""


def rectified():
    layer = conv()
    layer.negative_slope = 0.25
    return layer


def hooked(layer, inner):
    forward = inner.forward
    inner.forward = lambda *inputs, **options: functional.tanh(forward(*inputs, **options))
    return layer


def hooked_sequence(on_sequence):
    net = spconv.SparseSequential(conv())
    return hooked(net, net if on_sequence else net[0])


FUSED = {
    "convolution": conv,
    "grouped": lambda: conv(groups=2, bias=False),
    "named": lambda: Renamed(4, 4, 3),
    "frozen": lambda: FrozenConvolution(seeded(conv)),
    "sequence": lambda: spconv.SparseSequential(conv(4, 6), spconv.ReLU(), conv(6, 4)),
    "nested": lambda: spconv.SparseSequential(
        spconv.BatchNorm(4), spconv.SparseSequential(conv(4, 6), spconv.Tanh(), conv(6, 4))
    ),
    "up": lambda: spconv.SparseSequential(
        spconv.SparseConv2d(4, 6, 3, 2, 1, indice_key="down"),
        spconv.LeakyReLU(),
        spconv.SparseInverseConv2d(6, 4, 3, "down"),
    ),
    "dropped": lambda: spconv.SparseSequential(
        conv(4, 6), spconv.ReLU(), spconv.BatchwiseDropout(0.5), conv(6, 4)
    ),
    "dropped, nested": lambda: spconv.SparseSequential(
        spconv.BatchwiseDropout(0.5), spconv.SparseSequential(conv())
    ),
}
UNFUSED = {
    "normalized": lambda: spconv.SparseSequential(conv(), spconv.BatchNorm(4)),
    "rectified": rectified,
    "frozen and rectified": lambda: FrozenConvolution(seeded(rectified)),
    "rectifier": lambda: spconv.SparseSequential(conv(), spconv.ReLU()),
    "empty": spconv.SparseSequential,
    "dropout": lambda: spconv.SparseSequential(conv(), spconv.BatchwiseDropout(0.5)),
    "negated": lambda: Negated(4, 4, 3),
    "negated in a sequence": lambda: spconv.SparseSequential(Negated(4, 4, 3)),
    "sequence of the user's own": lambda: Doubled(conv()),
    "call of the user's own": lambda: spconv.SparseSequential(Called(4, 4, 3)),
    "hooked": lambda: hooked_sequence(False),
    "hooked sequence": lambda: hooked_sequence(True),
}
ALL = FUSED | UNFUSED


def example(ground):
    rng = np.random.default_rng(1)
    x = random_sparse_tensor(rng, (7, 6), 2, 4, 0.4, ground=ground, shuffle=True)
    g = spconv.Parameter(x.ground_state.data) if ground else None
    return x.derive(spconv.Parameter(x.features.data), g)


def run(make, ground, slope, fused):
    """A fresh layer, its input, and what comes out of a block with it."""
    layer, x = seeded(make).seed(3), example(ground)
    residual = functional.leaky_relu(x, 0.5)
    if fused:
        return layer, x, layers.residual_sum(layer, x, residual, slope)
    y = functional.add(residual, layer(x))
    return layer, x, y if slope is None else functional.leaky_relu(y, slope)


@pytest.mark.usefixtures("engine")
@with_or_without_ground
@every_slope
@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_is_a_sum_and_a_rectifier(make, slope, ground):
    results = []
    for fused in (True, False):
        layer, x, y = run(make, ground, slope, fused)
        gradients = []
        if not isinstance(layer, FrozenConvolution):
            (y.dense() * y.dense()).sum().backward()
            leaves = x.features, *([x.ground_state] if ground else []), *layer.parameters()
            gradients = [leaf.grad for leaf in leaves]
        results.append((y, gradients))
    (actual, gradients), (expected, expected_gradients) = results
    assert_sparse_equal(actual, expected, tolerance=1e-12)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11 * max(1, np.abs(other).max()))


def test_frozen_convolutions_record_no_sum_either():
    _, _, y = run(FUSED["frozen"], False, 0.0, True)
    assert not y.features.requires_grad


def operations(monkeypatch, function):
    """Names of the engine's operations that a function calls, and "add" for sums of tensors."""
    calls = []

    def counted(name, original):
        def call(*arguments, **options):
            calls.append(name)
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("convolve", "leaky_relu", "normalize"):
            patch.setattr(CpuOps, name, counted(name, getattr(CpuOps, name)))
        patch.setattr(spconv.Tensor, "__add__", counted("add", spconv.Tensor.__add__))
        patch.setattr(CpuOps, "add_rectified", counted("add", CpuOps.add_rectified))
        function()
    return calls


@pytest.mark.parametrize("make", FUSED.values(), ids=FUSED)
def test_the_sum_is_fused(monkeypatch, make):
    layer, x = seeded(make).seed(3), example(ground=False)
    assert takes_residual(last_layer(layer))
    alone = operations(monkeypatch, lambda: layer(x))
    layer.seed(3)
    summed = operations(monkeypatch, lambda: layers.residual_sum(layer, x, x, 0.0))
    assert "add" not in summed
    assert summed == alone


@pytest.mark.parametrize("make", UNFUSED.values(), ids=UNFUSED)
def test_the_sum_stays_behind(monkeypatch, make):
    layer, x = seeded(make).seed(3), example(ground=False)
    assert not takes_residual(last_layer(layer))
    assert "add" in operations(monkeypatch, lambda: layers.residual_sum(layer, x, x, 0.0))


def test_options_that_are_not_given_are_not_passed():
    """A hook that knows of no slope sees none."""
    seen, layer = [], FrozenConvolution(seeded(conv))
    forward = layer.layer.forward
    layer.layer.forward = lambda x, **options: seen.append(options) or forward(x, **options)
    layer(example(False))
    layer.layer.forward = forward
    layer(example(False), residual=example(False))
    assert seen == [{}]


def test_what_does_not_fit_is_refused():
    x = example(False)
    with pytest.raises(ValueError, match="SubMConv2d: expected a residual with the output's 5"):
        layers.residual_sum(conv(4, 5), x, x)
    with pytest.raises(ValueError, match="residual_sum: expected equal channels, got 4 and 5"):
        layers.residual_sum(spconv.SparseSequential(conv(4, 5), spconv.BatchNorm(5)), x, x)
    with pytest.raises(TypeError, match="residual: expected a SparseConvTensor, got Parameter"):
        layers.residual_sum(conv(), x, x.features)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_at_any_number_of_threads(dtype):
    results = []
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (90, 90), 3, 32, density=0.4, dtype=dtype, shuffle=True)
    try:
        for threads in (1, 2, 4):
            spconv.set_num_threads(threads)
            block = ResidualBlock(2, 32, True, rng=np.random.default_rng(1))
            leaf = x.derive(spconv.Parameter(x.features.data), x.ground_state)
            y = block(leaf)
            (y.features * y.features).sum().backward()
            gradients = [p.grad for p in block.parameters()]
            results.append([y.features.data, y.ground_state.data, leaf.features.grad, *gradients])
    finally:
        spconv.set_num_threads(None)
    for other in results[1:]:
        for expected, actual in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(actual, expected)
