import numpy as np
import pytest
from example_networks import Negated, Shifted

import spconv
from spconv import functional
from spconv.inference import FrozenConvolution, freeze
from spconv.models import DeepCNet, ResidualBlock, SparseResNet
from spconv.ops import CpuOps
from spconv.tensor import KeptChannels
from spconv.testing import random_sparse_tensor

BOUNDS = {np.float32: 1e-5, np.float64: 1e-13}


class UNet(spconv.Module):
    """Convolutions in sequences, held by a module with a forward pass of its own."""

    def __init__(self):
        def block(*layers, channels):
            return spconv.SparseSequential(
                *layers, spconv.BatchNorm(channels), spconv.LeakyReLU(0.1), spconv.Dropout(0.5)
            )

        self.encoder = block(spconv.SubMConv2d(3, 8, 3), channels=8)
        self.down = block(spconv.SparseConv2d(8, 16, 2, 2, indice_key="d", bias=False), channels=16)
        self.up = block(spconv.SparseInverseConv2d(16, 8, 2, indice_key="d"), channels=8)
        self.heads = [
            spconv.SparseSequential(
                spconv.SparseConvTranspose2d(16, 4, 3, padding=1), spconv.ReLU()
            ),
            spconv.Linear(4, 2),
        ]

    def forward(self, x):
        skip = self.encoder(x)
        y = spconv.functional.concat([skip, self.up(self.down(skip))])
        for head in self.heads:
            y = head(y)
        return y


def settle(model, x, dtype):
    """Running statistics and biases that are not those of a new network."""
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        noise = 0.3 * rng.standard_normal(parameter.shape)
        parameter.data = (parameter.data + noise).astype(dtype)
    for _ in range(3):
        model.train()(x)
    return model.eval()


def example(dtype, ground):
    rng = np.random.default_rng(0)
    return random_sparse_tensor(rng, (10, 12), 2, 3, 0.3, dtype, ground=ground)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ground", [False, True])
def test_a_frozen_network_gives_what_evaluation_gives(dtype, ground):
    x = example(dtype, ground)
    model = settle(UNet(), x, dtype)
    expected, actual = model(x), freeze(model)(x)
    scale = np.abs(expected.features.data).max()
    assert actual.features.dtype == dtype
    assert np.abs(actual.features.data - expected.features.data).max() <= BOUNDS[dtype] * scale
    np.testing.assert_array_equal(actual.indices, expected.indices)
    if ground:
        error = np.abs(actual.ground_state.data - expected.ground_state.data).max()
        assert error <= BOUNDS[dtype] * scale


def test_the_model_stays_as_it_is():
    x = example(np.float32, True)
    model = settle(UNet(), x, np.float32)
    before, sequence = model.state_dict(), list(model.encoder)
    model.train()
    freeze(model)(x)
    assert list(model.encoder) == sequence
    assert model.training
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_no_parameter_wants_a_gradient():
    for model in (UNet(), DeepCNet(2, 4, 1, 5)):
        wanting = [path for path, p in freeze(model).named_parameters() if p.requires_grad]
        assert wanting == []


def test_what_is_folded():
    net = DeepCNet(2, 4, 1, 5, dropout=0.5)
    frozen = freeze(net)
    kinds = [type(layer).__name__ for layer in frozen]
    block = ["FrozenConvolution", "SparseMaxPool2d"]
    assert kinds == [*block, *block, "FrozenConvolution", "Flatten", "Linear"]
    assert "negative_slope=0.333333" in repr(frozen)


def test_what_stands_behind_a_rectifier_is_not_folded_into_the_convolution():
    net = spconv.SparseSequential(
        spconv.SubMConv2d(3, 4, 3), spconv.ReLU(), spconv.BatchNorm(4), spconv.ReLU()
    )
    x = example(np.float64, True)
    settle(net, x, np.float64)
    frozen = freeze(net)
    assert [type(layer) for layer in frozen] == [FrozenConvolution, spconv.BatchNorm, spconv.ReLU]
    np.testing.assert_allclose(frozen(x).features.data, net(x).features.data, atol=1e-12)


def test_nothing_is_recorded():
    out = freeze(spconv.SparseSequential(spconv.SubMConv2d(3, 4, 3)))(example(np.float32, True))
    assert not out.features.requires_grad


class Capped(spconv.ReLU):
    def forward(self, x):
        return functional.tanh(super().forward(x))


class Always(spconv.Dropout):
    def forward(self, x):
        return x.replace_feature(x.features * 0.5)


def doubled(layer):
    forward = layer.forward
    layer.forward = lambda x, **options: functional.add(
        forward(x, **options), forward(x, **options)
    )
    return layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: (Negated(3, 4, 3), spconv.BatchNorm(4), spconv.ReLU()),
        lambda: (spconv.SubMConv2d(3, 4, 3), Shifted(4), spconv.ReLU()),
        lambda: (spconv.SubMConv2d(3, 4, 3), spconv.BatchNorm(4), Capped()),
        lambda: (spconv.SubMConv2d(3, 4, 3), Always(), spconv.ReLU()),
        lambda: (doubled(spconv.SubMConv2d(3, 4, 3)), spconv.BatchNorm(4), spconv.ReLU()),
    ],
    ids=["convolution", "normalization", "rectifier", "dropout", "hook"],
)
def test_layers_of_the_users_own_stay_as_they_are(make):
    x = example(np.float64, False)
    net = settle(spconv.SparseSequential(*make()), x, np.float64)
    np.testing.assert_allclose(freeze(net)(x).features.data, net(x).features.data, atol=1e-12)


@pytest.mark.parametrize("ground", [False, True])
@pytest.mark.parametrize("preactivation", [False, True])
def test_convolutions_add_and_rectify_in_a_frozen_residual_network(
    monkeypatch, preactivation, ground
):
    x = example(np.float64, ground)
    net = SparseResNet([4, 6], 3, 5, blocks=2, preactivation=preactivation)
    settle(net, x, np.float64)
    expected, frozen, calls = net(x).data, freeze(net), []

    def counted(name, original):
        def call(first, *others, **options):
            calls.append((name, getattr(first, "ndim", 0)))
            return original(first, *others, **options)

        return call

    monkeypatch.setattr(spconv.Tensor, "__add__", counted("add", spconv.Tensor.__add__))
    monkeypatch.setattr(functional, "leaky_relu", counted("rectify", functional.leaky_relu))
    monkeypatch.setattr(CpuOps, "convolve", counted("convolve", CpuOps.convolve))
    actual = frozen(x).data
    assert np.abs(actual - expected).max() <= 1e-13 * np.abs(expected).max()
    names = [name for name, _ in calls]
    assert names.count("convolve") == 2 + 2 * 4
    # Ground states are rows of one axis.
    assert [ndim for name, ndim in calls if name == "add"] == [1] * (4 if ground else 0)
    # A normalization in front of a block, a level or the read-out has no convolution before it.
    assert names.count("rectify") == (4 + 1 + 1 if preactivation else 0)


class Halved(spconv.Module):
    def __init__(self):
        self.inner = spconv.SubMConv2d(4, 4, 3)

    def forward(self, x):
        return self.inner(x).replace_feature(self.inner(x).features * 0.5)


@pytest.mark.parametrize("preactivation", [False, True])
def test_a_residual_block_around_a_branch_of_the_users_own(preactivation):
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (8, 7), 2, 4, 0.4, ground=False)
    block = ResidualBlock(2, 4, preactivation, rng=rng)
    block.branch = Halved()
    total = functional.add(x, block.branch(x))
    expected = (total if preactivation else functional.relu(total)).features.data
    for net in (block, freeze(block)):
        np.testing.assert_array_equal(net(x).features.data, expected)


class Skips(spconv.SparseSequential):
    """The sum of all that its layers give, one after the other."""

    def forward(self, x):
        total = None
        for layer in self:
            x = layer(x)
            total = x if total is None else total + x
        return total


def test_a_sequence_with_a_forward_of_its_own_keeps_its_layers():
    x = example(np.float64, False)
    net = Skips(spconv.SubMConv2d(3, 3, 3), spconv.BatchNorm(3), spconv.ReLU())
    settle(net, x, np.float64)
    frozen = freeze(net)
    assert len(frozen) == 3
    np.testing.assert_array_equal(frozen(x).features.data, net(x).features.data)


def test_training_further_does_not_change_the_copy():
    x = example(np.float32, True)
    net = settle(UNet(), x, np.float32)
    frozen = freeze(net)
    before = frozen(x).features.data.copy()
    net.train()
    sgd = spconv.optim.SGD(net.named_parameters(), lr=0.1)
    (net(x).features * 1.0).sum().backward()
    sgd.step()
    assert np.abs(net.eval()(x).features.data - before).max() > 1e-3
    np.testing.assert_array_equal(frozen(x).features.data, before)


def test_frozen_layers_of_rows_record_nothing_either():
    net = spconv.SparseSequential(spconv.Flatten(), spconv.Linear(6, 2))
    y = freeze(net)(spconv.Tensor(np.ones((3, 6), np.float32)))
    assert not y.requires_grad
    assert net[1].weight.requires_grad


class Held(spconv.Module):
    def __init__(self):
        self.layer = self.again = spconv.Linear(3, 3)
        self.pair = KeptChannels(np.arange(2), 5)
        self.owner = self

    def forward(self, x):
        return self.again(self.layer(x))


def test_shared_layers_cycles_and_named_tuples():
    net = Held()
    frozen = freeze(net)
    assert frozen.layer is frozen.again
    assert frozen.layer is not net.layer
    assert frozen.owner is frozen
    assert type(frozen.pair) is KeptChannels
    assert frozen.pair.total == 5


def test_what_is_no_network():
    with pytest.raises(TypeError, match=r"freeze: expected a Module, got numpy\.ndarray"):
        freeze(np.zeros(3))


class Averages(spconv.Module):
    buffer_names = ("mean",)

    def __init__(self):
        self.mean = np.zeros(3)

    def forward(self, x):
        if self.training:
            self.mean += x.data.mean(0)
        return x - spconv.Tensor(self.mean)


def test_buffers_are_the_copys_own():
    net = Averages()
    frozen = freeze(net)
    net.train()(spconv.Tensor(np.ones((2, 3))))
    assert net.mean.all()
    assert not frozen.mean.any()


def test_a_position_that_freezing_took_away():
    layers = {"conv": spconv.SubMConv2d(1, 2, 3), "norm": spconv.BatchNorm(2)}
    frozen = r"; a frozen sequence has fewer layers than the one it was made of"
    for again in (freeze, lambda net: freeze(freeze(net))):
        with pytest.raises(IndexError, match=f"of 1 layers, got 1{frozen}$"):
            again(spconv.SparseSequential(*layers.values()))[1]
        with pytest.raises(KeyError, match=f"named 'norm' among .*{frozen}"):
            again(spconv.SparseSequential(layers))["norm"]
    with pytest.raises(IndexError, match=r"of 1 layers, got 1$"):
        freeze(spconv.SparseSequential(layers["conv"]))[1]


class BatchStatistics(spconv.BatchNorm):
    def train(self, mode=True):
        return super().train(True)


class AlwaysDropout(spconv.Dropout):
    def train(self, mode=True):
        return super().train(True)


def test_what_trains_in_evaluation_does_so_frozen():
    net = spconv.SparseSequential(spconv.SubMConv2d(3, 4, 3), BatchStatistics(4), AlwaysDropout())
    x = random_sparse_tensor(np.random.default_rng(0), (6, 6), dtype=np.float32)
    frozen = freeze(net)
    np.testing.assert_array_equal(frozen(x).features.data, net.eval()(x).features.data)
    assert [layer.training for layer in frozen] == [False, True, True]


def test_a_wider_normalization_widens_what_it_is_folded_into():
    net = spconv.SparseSequential(spconv.SubMConv2d(3, 3, 3), spconv.BatchNorm(3).astype("f8"))
    x = random_sparse_tensor(np.random.default_rng(0), (6, 6), dtype=np.float32)
    expected, frozen = net.eval()(x), freeze(net)(x)
    assert frozen.features.dtype == expected.features.dtype == np.float64
    np.testing.assert_allclose(frozen.features.data, expected.features.data, rtol=1e-5, atol=1e-6)


class Silent(spconv.SparseSequential):
    def train(self, mode=True):
        super().train(mode)


def test_a_train_that_returns_nothing():
    net = Silent(spconv.SubMConv2d(3, 4, 3), Silent(spconv.BatchNorm(4)))
    frozen = freeze(net)
    assert isinstance(frozen, Silent)
    assert not any(module.training for _, module in frozen.named_modules())


class Standardized(spconv.SubMConv2d):
    """Weights of mean 0 and variance 1, whatever they are set to."""

    @property
    def weight(self):
        axes = tuple(range(self.raw.ndim - 1))
        centered = self.raw - self.raw.mean(axes)
        return centered / (centered * centered).mean(axes) ** 0.5

    @weight.setter
    def weight(self, value):
        self.raw = value


class Stored(Standardized):
    """The same under its own name."""

    @property
    def raw(self):
        return vars(self)["weight"]

    @raw.setter
    def raw(self, value):
        vars(self)["weight"] = value


class Raised(spconv.SubMConv2d):
    @property
    def bias(self):
        return spconv.Tensor(self.offset.data + 1)

    @bias.setter
    def bias(self, value):
        self.offset = value


class Positive(spconv.BatchNorm):
    @property
    def weight(self):
        return spconv.Tensor(np.exp(self.logarithm.data))

    @weight.setter
    def weight(self, value):
        self.logarithm = value


@pytest.mark.parametrize(
    ("convolution", "norm"),
    [
        (Standardized, spconv.BatchNorm),
        (Stored, spconv.BatchNorm),
        (Raised, spconv.BatchNorm),
        (spconv.SubMConv2d, Positive),
    ],
)
def test_what_computes_its_parameters_is_not_folded(convolution, norm):
    x = example(np.float64, False)
    net = spconv.SparseSequential(convolution(3, 4, 3), norm(4), spconv.ReLU())
    settle(net, x, np.float64)
    frozen = freeze(net)
    assert [type(layer) for layer in frozen] == [FrozenConvolution, norm, spconv.ReLU]
    np.testing.assert_allclose(frozen(x).features.data, net(x).features.data, atol=1e-12)
