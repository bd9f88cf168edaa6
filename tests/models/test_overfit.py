"""Every network learns 200 characters by heart: gradients, optimizer and modes work together."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.data import SparseLoader, load_strokes
from spconv.evaluation import evaluate
from spconv.models import (
    DeepCNet,
    DeepCNiN,
    DenseVGG,
    FMPNet,
    SimpleCNN,
    SparseResNet,
    SparseVGG,
)

CLASSES = 10
VGG = [("C", 6), "MP", ("C", 8), "MP", ("C", 8, 4), "MP"]
NETWORKS = {  # name: (network, field)
    "DeepCNet": (lambda: DeepCNet(4, 8, 1, CLASSES), 48),
    "DeepCNiN": (lambda: DeepCNiN(4, 8, 1, CLASSES), 48),
    "SparseVGG": (lambda: SparseVGG(VGG, 1, CLASSES, 31, 32), 31),
    "SparseResNet": (lambda: SparseResNet([6, 8, 12, 16], 1, CLASSES, blocks=1), 28),
    "SparseResNet-post": (
        lambda: SparseResNet([6, 8, 12, 16], 1, CLASSES, blocks=1, preactivation=False),
        28,
    ),
    "FMPNet": (lambda: FMPNet(6, 8, 1, CLASSES), 36),
    "SimpleCNN": (lambda: SimpleCNN(CLASSES, width=6, hidden=32, dropout=0.2), 28),
    "DenseVGG": (
        lambda: DenseVGG(CLASSES, size=32, widths=(6, 8, 12), depth=1, readout=32, dropout=0.2),
        32,
    ),
}


@pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
@pytest.mark.parametrize(("make", "field"), NETWORKS.values(), ids=NETWORKS.keys())
def test_no_training_error_is_left(make, field, ground):
    net = make()
    is_dense = isinstance(net, SimpleCNN | DenseVGG)
    if is_dense and not ground:
        return

    def prepare(x):
        return x.dense() if is_dense else x

    images, labels = load_strokes("train", 200, CLASSES)
    loader = SparseLoader(
        images, labels, 25, field, shuffle=True, num_threads=0, ground_state=ground
    )
    optimizer = spconv.optim.Adam(net.named_parameters(), lr=4e-3)
    errors = []
    for epoch in range(40):
        net.train()
        for step, (x, y) in enumerate(loader.epoch(epoch)):
            net.seed(0, epoch, step)
            net.zero_grad()
            functional.cross_entropy(net(prepare(x)), y).backward()
            optimizer.step()
        errors.append(evaluate(net, loader, prepare=prepare).num_errors)
        if errors[-1] == 0:
            break
    assert errors[-1] == 0, errors
    assert errors[0] > 0 or len(errors) == 1
    assert len(np.unique(labels)) == CLASSES
