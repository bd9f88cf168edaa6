"""Trained weights: the networks they belong to, and how they are found, read and described."""

from pathlib import Path

import numpy as np
import pytest

import spconv
import spconv.testing
from spconv.models import pretrained

MEGABYTES = 5
NETWORKS = {name: getattr(pretrained, name) for name in pretrained.PRETRAINED}
FILES = sorted(path.name for path in pretrained.weights_folder().iterdir())
WEIGHTS = [name for name in FILES if name.endswith(".npz")]
RECIPE = {"command": "python train.py", "seed": 1, "seconds": 2.5, "test_errors": {"error": 0.1}}

every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "weights_folder", lambda: Path(tmp_path))
    return tmp_path


@every_network
def test_the_weights_come_back(name, folder):
    trained = NETWORKS[name](seed=5)
    for buffer_holder in (module for _, module in trained.named_modules()):
        for buffer in buffer_holder.buffer_names:
            setattr(buffer_holder, buffer, getattr(buffer_holder, buffer) + 2)
    spconv.save(folder / f"{name}.npz", trained, recipe=RECIPE)
    net = NETWORKS[name](pretrained=True)
    assert not net.training
    state = net.state_dict()
    assert state.keys() == trained.state_dict().keys()
    for key, value in trained.state_dict().items():
        np.testing.assert_array_equal(state[key], value)
        assert state[key].dtype == value.dtype
    assert pretrained.pretrained_info(name) == RECIPE
    assert (folder / f"{name}.npz").stat().st_size <= MEGABYTES * 2**20


@every_network
def test_without_the_file(name, folder):
    message = rf"{name}: this copy of spconv has no trained weights .*{name}\.npz"
    with pytest.raises(FileNotFoundError, match=message):
        NETWORKS[name](pretrained=True)
    with pytest.raises(FileNotFoundError, match=message):
        pretrained.pretrained_info(name)
    assert NETWORKS[name]().training  # untrained, it needs no file


def test_weights_of_another_network(folder):
    spconv.save(folder / "mnist_deepcnet.npz", spconv.models.DeepCNet(1, 2, 1, 10), recipe=RECIPE)
    with pytest.raises(ValueError, match=r"mnist_deepcnet\.npz.*does not fit"):
        pretrained.mnist_deepcnet(pretrained=True)


def test_weights_without_a_recipe(folder):
    spconv.save(folder / "mnist_deepcnet.npz", pretrained.mnist_deepcnet())
    with pytest.raises(ValueError, match="holds no recipe; save the weights with"):
        pretrained.pretrained_info("mnist_deepcnet")


def test_unknown_name():
    with pytest.raises(ValueError, match=r"expected one of mnist_deepcnet, .*, got 'resnet'"):
        pretrained.pretrained_info("resnet")


@every_network
def test_inputs_have_a_ground_state_as_in_training_or_none(name, folder):
    spconv.save(folder / f"{name}.npz", NETWORKS[name](), recipe=RECIPE)
    net = NETWORKS[name](pretrained=True)
    channels = next(net.parameters()).shape[1]
    image = np.zeros((1, channels, net.field, net.field), np.float32)
    image[..., 20:30, 20:30] = 1
    plain = spconv.from_dense(image)
    grounded = spconv.from_dense(image, ground_state=[0.0] * channels)
    right, wrong = (plain, grounded) if name == "assamese_vgg" else (grounded, plain)
    assert net(right).shape[0] == 1
    message = "without a ground state, the input is with one: make it without, ground_state=None"
    if wrong is plain:
        fix = r"\[0\.0\]" + (rf" \* {channels}" if channels > 1 else "")
        message = rf"with a ground state, the input is without one: give it one, ground_state={fix}"
    with pytest.raises(ValueError, match=rf"these weights were trained on inputs {message}"):
        net(wrong)
    NETWORKS[name]()(wrong)  # of untrained ones nobody knows
    net.trained_with_ground_state = None
    net(wrong)


@every_network
@pytest.mark.parametrize("before", [0.0, 0.5])
def test_dropout_has_no_part_in_the_weights(name, before, folder):
    trained = NETWORKS[name](dropout=before, seed=3)
    spconv.save(folder / f"{name}.npz", trained, recipe=RECIPE)
    net = NETWORKS[name](pretrained=True, dropout=0.25)
    assert sum(isinstance(layer, spconv.Dropout) for layer in net) > 0
    for own, other in zip(net.parameters(), trained.parameters(), strict=True):
        np.testing.assert_array_equal(own.data, other.data)


def test_packaged_weights():
    """All that are there; a source tree may have none yet."""
    assert {Path(file).stem for file in WEIGHTS} <= set(NETWORKS)
    for name in (Path(file).stem for file in WEIGHTS):
        content = (pretrained.weights_folder() / f"{name}.npz").read_bytes()
        assert len(content) <= MEGABYTES * 2**20
        recipe = pretrained.pretrained_info(name)
        assert {"command", "seed", "seconds", "test_errors", "dataset", "encoder"} <= recipe.keys()
        net = NETWORKS[name](pretrained=True)
        rng = np.random.default_rng(0)
        shape, channels = (net.field,) * net.ndim, net[0].in_channels
        ground = name != "assamese_vgg"
        x = spconv.testing.random_sparse_tensor(
            rng, shape, 2, channels, 0.05, np.float32, ground=ground
        )
        logits = net(x).data
        assert np.isfinite(logits).all()
        assert (logits != NETWORKS[name]().eval()(x).data).any()
