"""From a checkpoint into a model and its optimizer: all of it, a part, or nothing."""

import numpy as np
import pytest
from saved_states import assert_same

from spconv.autograd import Parameter
from spconv.checkpoint import load, save
from spconv.layers import BatchNorm, Linear, SparseSequential
from spconv.optim import SGD, Adam


def network(seed=0, dtype=np.float32):
    linear = Linear(2, 2, rng=np.random.default_rng(seed))
    return SparseSequential(linear, BatchNorm(2)).astype(dtype)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def test_restore(path):
    source, target = network(0), network(1)
    save(path, source, SGD(source.named_parameters(), lr=0.25))
    optimizer = SGD(target.named_parameters(), lr=1.0)
    load(path).restore(target, optimizer)
    assert_same(target.state_dict(), source.state_dict())
    assert optimizer.lr == 0.25


def test_restore_names_the_file_when_the_state_does_not_fit(path):
    save(path, network())
    with pytest.raises(ValueError, match=r"model\.npz: the checkpoint holds no optimizer"):
        load(path).restore(network(), SGD([("w", Parameter(np.ones(2)))], lr=1.0))
    with pytest.raises(ValueError, match=r"model\.npz: Linear\.load_state_dict: .* unexpected 0\."):
        load(path).restore(network()[0])


def test_a_part_is_restored_on_demand(path):
    old = SparseSequential(Linear(3, 2), Linear(2, 4))
    save(path, SparseSequential(old[0]))
    new = SparseSequential(Linear(3, 2), Linear(2, 5))
    head = new[1].weight.data.copy()
    with pytest.raises(ValueError, match=r"missing 1\.weight; .* pass strict=False"):
        load(path).restore(new)
    found = load(path).restore(new, strict=False)
    assert found.missing_keys == ["1.weight", "1.bias"]
    np.testing.assert_array_equal(new[0].weight.data, old[0].weight.data)
    np.testing.assert_array_equal(new[1].weight.data, head)
    save(path, old)
    with pytest.raises(ValueError, match=r"1\.weight has shape .*; leave those out and pass"):
        load(path).restore(new, strict=False)
    np.testing.assert_array_equal(new[1].weight.data, head)


@pytest.mark.parametrize("error", [OverflowError, KeyboardInterrupt, MemoryError])
def test_nothing_is_restored_by_halves(path, monkeypatch, error):
    net, other = network(0, np.float32), network(1)
    save(path, net, SGD(net.named_parameters(), lr=0.1))
    optimizer, before = SGD(other.named_parameters(), lr=0.3), other.state_dict()

    def fail(state):
        raise error("now")

    monkeypatch.setattr(optimizer, "load_state_dict", fail)
    with pytest.raises(ValueError if error is OverflowError else error, match="now"):
        load(path).restore(other, optimizer)
    assert_same(other.state_dict(), before)


def test_numbers_beyond_all_floats(path):
    net = network(0, np.float32)
    optimizer = SGD(net.named_parameters(), lr=0.1)
    save(path, net, optimizer)
    read = load(path)
    read.optimizer["lr"] = 10**400
    with pytest.raises(ValueError, match=r"lr must be finite and >= 0, got inf"):
        read.restore(net, optimizer)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_state_that_does_not_fit_changes_neither(path, dtype):
    net, other = network(0, dtype), network(1)
    save(path, net, Adam(net.named_parameters(), lr=0.1))
    optimizer = SGD(other.named_parameters(), lr=0.3, momentum=0.9)
    before = other.state_dict(), optimizer.state_dict()
    with pytest.raises(ValueError, match="the state is of another optimizer"):
        load(path).restore(other, optimizer)
    assert_same((other.state_dict(), optimizer.state_dict()), before)


def test_a_model_that_knows_of_no_strictness(path):
    class Own(SparseSequential):
        def load_state_dict(self, state):
            return super().load_state_dict(state)

    net = Own(Linear(2, 2))
    save(path, net)
    assert load(path).restore(net).missing_keys == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "model must be a Module, got NoneType"),
        ((SparseSequential,), "model must be a Module, got "),
        ((network(), 0.1), "optimizer must be an Optimizer, got float"),
    ],
)
def test_what_nothing_is_restored_into(path, arguments, message):
    save(path, network())
    with pytest.raises(TypeError, match=f"restore: {message}"):
        load(path).restore(*arguments)
