"""Computing only the channels that a batchwise dropout keeps equals computing all and masking."""

import numpy as np
import pytest
from example_networks import batchwise_dropout_chain

import spconv
from spconv import functional
from spconv.models import DeepCNet
from spconv.testing import assert_close, random_sparse_tensor, randomize


def run_masked(net, x):
    """All layers of `net` in full; the dropped channels are multiplied by zero."""
    for layer in net:
        if isinstance(layer, spconv.BatchwiseDropout):
            kept = layer.draw(x.num_channels)
            mask = np.zeros(kept.total)
            mask[kept.slots] = kept.total / len(kept.slots)
            ground = None if x.ground_state is None else x.ground_state * mask
            x = x.replace_feature(x.features * mask, ground)
        else:
            x = layer(x)
    return x


NETWORKS = {
    "chain": batchwise_dropout_chain,
    "DeepCNet": lambda: DeepCNet(2, 8, 4, 5, dropout=[0.3, 0.5, 0.5, 0.5], batchwise=True),
}


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_same_result_and_gradients(engine, make, ground):
    net = make()
    rng = np.random.default_rng(0)
    parameters = randomize(net, rng)
    x = random_sparse_tensor(rng, (12, 12), 2, 4, density=0.2, ground=ground)
    outputs, gradients = [], []
    for run in (lambda: net(x), lambda: run_masked(net, x)):
        net.seed(4, 2)
        net.zero_grad()
        output = run()
        if isinstance(output, spconv.SparseConvTensor):
            output = output.dense()
        (output * output).sum().backward()
        outputs.append(output.data)
        gradients.append({name: parameter.grad for name, parameter in parameters.items()})
    assert np.abs(outputs[1]).max() > 0
    assert_close(outputs[0], outputs[1], 1e-12, "output")
    for name, gradient in gradients[1].items():
        assert_close(gradients[0][name], gradient, 1e-10, f"gradient of {name}")
    if make is batchwise_dropout_chain:
        dropped = ~gradients[0]["0.weight"].any(axis=(0, 1))
        assert dropped.sum() == 6  # of 10 filters


def test_dropped_channels_are_not_computed(monkeypatch):
    widths = []
    convolve = spconv.ops.CpuOps.convolve

    def counting(self, x, w, *arguments, **options):
        widths.append((x.shape[1], *w.shape[1:]))
        return convolve(self, x, w, *arguments, **options)

    monkeypatch.setattr(spconv.ops.CpuOps, "convolve", counting)
    net = spconv.SparseSequential(
        spconv.SubMConv2d(4, 20, 3),
        spconv.ReLU(),
        spconv.BatchwiseDropout(0.75),
        spconv.SubMConv2d(20, 30, 3),
        spconv.BatchwiseDropout(0.5),
        spconv.SubMConv2d(30, 6, 3),
    )
    x = random_sparse_tensor(np.random.default_rng(0), (8, 8), channels=4)
    y = net(x)
    assert widths == [(4, 4, 5), (5, 5, 15), (15, 15, 6)]
    widths.clear()
    functional.global_avg_pool(y).sum().backward()
    assert widths == [(6, 15, 6), (15, 5, 15)]  # the weights are used transposed
    widths.clear()
    net.eval()(x)
    assert widths == [(4, 4, 20), (20, 20, 30), (30, 30, 6)]
