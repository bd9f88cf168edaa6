"""What an error says of a state that does not fit: where it is from, and what to do."""

import re

import numpy as np
import pytest

import spconv
from spconv.inference import freeze


def make():
    return spconv.SparseSequential(
        spconv.SubMConv3d(4, 4, 3), spconv.BatchNorm(4), spconv.ReLU(), spconv.Linear(4, 2)
    )


class Whole(spconv.Module):
    def __init__(self):
        self.backbone = make()


class Wrapped(spconv.Module):
    def __init__(self, layer):
        self.layer = layer


STATE = make().state_dict()
PYTORCH = {**STATE, "0.weight": np.ones((4, 3, 3, 3, 4)), "3.weight": np.ones((2, 4))}


@pytest.mark.parametrize(
    ("net", "state", "advice"),
    [
        (
            make(),
            freeze(make()).state_dict(),
            r"; it may be that of a frozen network: load it into inference\.freeze",
        ),
        (
            freeze(make()),
            STATE,
            r"this network is frozen and the state's may not be: load the state, then freeze$",
        ),
        (make(), Whole().state_dict(), r"begin with 'backbone\.', .*removeprefix\('backbone\.'\)"),
        (Whole(), STATE, r"it is that of a part: load it into \.backbone$"),
        (make(), PYTORCH, r"in PyTorch convert it: porting\.from_pytorch\(state, net\)$"),
        (
            make(),
            {**STATE, "1.num_batches_tracked": np.array(3)},
            r"in PyTorch convert it: porting\.from_pytorch\(state, net\)$",
        ),
        (make(), {**STATE, "4.weight": np.ones(3)}, "to take over what fits pass strict=False$"),
        (make(), {**STATE, "3.bias": np.ones(3, "f4")}, "leave those out and pass strict=False$"),
        (make(), {}, "take over what fits pass strict=False$"),
    ],
)
def test_advice(net, state, advice):
    with pytest.raises(ValueError, match=f"does not fit this module: .*{advice}"):
        net.load_state_dict(state)


def test_the_advice_helps():
    net = make()
    whole = Whole().state_dict()
    net.load_state_dict({path.removeprefix("backbone."): array for path, array in whole.items()})
    Whole().backbone.load_state_dict(STATE)
    freeze(make()).load_state_dict(freeze(make()).state_dict())
    net.load_state_dict(spconv.porting.from_pytorch(PYTORCH, net))


def test_weights_of_pytorch_are_no_part_to_take_over():
    with pytest.raises(ValueError, match=r"convert it: porting\.from_pytorch"):
        make().load_state_dict({"3.weight": np.ones((2, 4), "f4")}, strict=False)


@pytest.mark.parametrize("path", [0, ("weight", 1), b"weight", None])
def test_paths_that_are_no_strings_are_named_as_any_other(path):
    net, state = spconv.Linear(3, 3), {path: np.ones(3)}
    message = rf"missing weight; missing bias; unexpected {re.escape(str(path))}; to take over what"
    with pytest.raises(ValueError, match=rf"Linear\.load_state_dict: .*{message}"):
        net.load_state_dict(state)
    with pytest.raises(ValueError, match=rf"model\.npz: Linear\.load_state_dict: .*{message}"):
        spconv.Checkpoint("model.npz", state, None, {}).restore(net)
    with pytest.raises(
        ValueError, match=r"bias has shape \(2,\), expected \(3,\); leave those out"
    ):
        net.load_state_dict({**state, "bias": np.ones(2, "f4")}, strict=False)
    assert net.load_state_dict(state, strict=False).unexpected_keys == [path]


def test_a_frozen_part_is_told_from_a_whole_network():
    net, frozen = Whole(), freeze(Whole())
    with pytest.raises(ValueError, match="it may be that of a frozen network"):
        net.load_state_dict(frozen.state_dict())
    with pytest.raises(ValueError, match="this network is frozen"):
        frozen.load_state_dict(net.state_dict())


def test_an_attribute_called_layer_makes_no_network_a_frozen_one():
    sequence = spconv.SparseSequential
    for plain, wrapped in (
        (sequence(spconv.Linear(2, 2)), sequence(Wrapped(spconv.Linear(2, 2)))),
        (sequence(make()), sequence(Wrapped(make()))),
    ):
        for net, other in ((plain, wrapped), (wrapped, plain)):
            with pytest.raises(ValueError, match=r"take over what fits pass strict=False$"):
                net.load_state_dict(other.state_dict())
    convolution = spconv.SubMConv2d(2, 2, 3)
    net = sequence(Wrapped(convolution))
    with pytest.raises(ValueError, match=r"take over what fits pass strict=False$"):
        net.load_state_dict(sequence(convolution).state_dict())
