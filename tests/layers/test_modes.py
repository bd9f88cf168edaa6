"""Who trains and who evaluates, where modules decide for themselves."""

import numpy as np
import pytest

import spconv
from spconv.layers.modes import modes_kept
from spconv.testing import random_sparse_tensor
from spconv.train import evaluate, train


def example(channels=2):
    return random_sparse_tensor(np.random.default_rng(0), (6, 7), 2, channels, 0.5, np.float32)


class FixedNorm(spconv.BatchNorm):
    def train(self, mode=True):
        return super().train(False)


class Trunk(spconv.Module):
    def __init__(self):
        self.parts = [FixedNorm(4), spconv.BatchNorm(4)]

    def forward(self, x):
        return self.parts[1](self.parts[0](x))


def test_modules_decide_for_themselves_whether_they_train():
    net = spconv.SparseSequential(Trunk(), spconv.Dropout(0.5))
    for mode in (True, False, True):
        assert net.train(mode) is net
        assert [m.training for _, m in net.named_modules()] == [mode, mode, False, mode, mode]
    net(example(4))
    fixed, other = net[0].parts
    assert not fixed.running_mean.any()
    assert other.running_mean.any()
    assert not any(module.training for _, module in net.eval().named_modules())


def test_a_child_that_holds_its_parent_switches_too():
    net = Trunk()
    net.child = spconv.Dropout()
    net.child.parent = net
    assert not any(module.training for _, module in net.eval().named_modules())
    assert net.train().child.training
    assert net.child.eval() is net.child
    assert not net.training


class Deciding(spconv.Module):
    def __init__(self):
        self.part = Linked()
        self.part.whole = self

    def train(self, mode=True):
        return super().train(mode)


class Linked(spconv.Module):
    def train(self, mode=True):
        return super().train(mode)


def test_links_to_the_whole_end_nowhere():
    net = Deciding()
    for mode in (False, True):
        net.train(mode)
        assert (net.training, net.part.training) == (mode, mode)
        net.part.train(not mode)
        assert net.part.training != mode
    del Deciding.train
    assert (net.eval().part.training, net.train().part.training) == (False, True)


class Learning(spconv.Module):
    """Its parameters learn while it trains; a layer is hidden in what is searched for none."""

    def __init__(self, norm=None):
        self.norm = norm or spconv.BatchNorm(2)
        self.linear = spconv.Linear(2, 2, rng=np.random.default_rng(0))
        self.hidden = {spconv.Dropout(0.5)}

    def train(self, mode=True):
        for layer in self.hidden:
            layer.train(mode)
        return super().train(mode).requires_grad_(mode)

    def forward(self, x):
        return self.linear(self.norm(x))

    def modes(self):
        learns = {p.requires_grad for p in self.parameters()}
        return [self.training, self.norm.training, *learns, *(d.training for d in self.hidden)]


ROWS = np.random.default_rng(0).random((6, 2), np.float32)
BATCHES = [(spconv.Tensor(ROWS), np.array([0, 1, 0, 1, 1, 0]))]


def trained(net, **options):
    sgd = spconv.optim.SGD(net.named_parameters(), lr=0.1)
    return train(net, BATCHES, sgd, progress=False, **options)


def test_an_evaluation_leaves_no_trace():
    net = spconv.SparseSequential(Learning())
    evaluate(net, BATCHES)
    assert net[0].modes() == [True] * 4
    with modes_kept(net):
        net.eval()
        assert net[0].modes() == [False] * 4
    assert net[0].modes() == [True] * 4
    net.eval()
    with modes_kept(net):
        net.train()
    assert net[0].modes() == [False] * 4


def test_what_learns_goes_on_learning_behind_every_evaluation():
    net, weights = spconv.SparseSequential(Learning()), []
    learnt = lambda _: weights.append(net[0].linear.weight.data.copy())  # noqa: E731
    trained(net, epochs=3, evaluate=BATCHES, on_epoch=learnt)
    assert not np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[1], weights[2])


@pytest.mark.parametrize("inside", [True, False])
def test_parts_in_evaluation_stay_so_below_those_that_decide(inside):
    net = part = Learning()
    if inside:
        net = spconv.SparseSequential(part, spconv.Linear(2, 2))
    net.train()
    part.norm.eval()
    trained(net, epochs=2, evaluate=BATCHES)
    assert part.modes() == [True, False, True, True]
    assert not part.norm.running_mean.any()


def test_modules_that_nobody_asked_are_asked():
    norm = FixedNorm(2)  # made in training mode, as all are
    net = Learning(norm)
    trained(net, epochs=1)
    assert (net.training, norm.training) == (True, False)
    assert not norm.running_mean.any()


class Half(Learning):
    def train(self, mode=True):
        super().train(False)
        self.linear.train(mode).requires_grad_(mode)
        return self


def test_a_network_that_trains_in_part_trains_again():
    net = Half()
    for _ in range(2):
        before = net.linear.weight.data.copy()
        trained(net, epochs=1)
        assert net.modes()[:2] == [False, False]
        assert net.linear.training
        assert not np.array_equal(net.linear.weight.data, before)
        assert not net.norm.running_mean.any()
    trained(Half().train(), epochs=1)
    with pytest.raises(ValueError, match=r"the model is in evaluation mode; call model\.train"):
        trained(net.eval(), epochs=1)
