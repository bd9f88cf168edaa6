"""Networks of the other spconv, their inputs and their outputs, into ``expected.npz``.

Run by hand in an environment that has torch and the other spconv (2.3.8 made the file that is
here): ``other-venv/bin/python tests/porting/make_expected.py``.
"""

from pathlib import Path

import numpy as np

SHAPE, BATCH = (5, 6, 4), 2


def networks():
    """By name, PyTorch networks of the very names that ``test_porting.py`` gives its own."""
    from torch import nn

    import spconv.pytorch as other

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = other.SparseSequential(
                other.SubMConv3d(3, 4, 3, indice_key="same"), nn.BatchNorm1d(4), nn.LeakyReLU(0.1)
            )
            self.down = other.SparseConv3d(4, 4, (2, 3, 2), 2, indice_key="down")
            self.up = other.SparseInverseConv3d(4, 4, (2, 3, 2), indice_key="down")
            self.head = nn.Linear(4, 4)

        def forward(self, x):
            x = self.up(self.down(self.stem(x)))
            return x.replace_feature(self.head(x.features))

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(
                [
                    other.SparseConv3d(3, 4, 3, stride=2, padding=1, bias=False),
                    other.SparseConvTranspose3d(4, 2, (3, 2, 2), stride=2),
                ]
            )

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    class Grid(nn.Module):
        def __init__(self):
            super().__init__()
            self.sparse = other.SubMConv3d(3, 2, (1, 3, 1))
            self.dense = nn.Conv3d(2, 3, (2, 3, 1))
            self.norm = nn.BatchNorm3d(3)

        def forward(self, x):
            return self.norm(self.dense(self.sparse(x).dense()))

    pointwise = other.SparseSequential(
        other.SubMConv3d(3, 4, 1),
        other.SparseConv3d(4, 5, 1),
        other.SparseConv3d(5, 2, 1, stride=2),
    )
    return {"unet": UNet(), "generator": Generator(), "grid": Grid(), "pointwise": pointwise}


def main():
    import torch

    import spconv.pytorch as other

    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    active = np.argwhere(rng.random((BATCH, *SHAPE)) < 0.2)
    active = np.ascontiguousarray(active, np.int32)  # its memory is read whatever the strides
    features = rng.standard_normal((len(active), 3)).astype(np.float32)
    arrays = {"indices": active, "features": features}
    for name, net in networks().items():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter)
        for key, buffer in net.named_buffers():
            if key.endswith("running_mean") or key.endswith("running_var"):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
        x = other.SparseConvTensor(
            torch.from_numpy(features), torch.from_numpy(active), list(SHAPE), BATCH
        )
        net.eval()
        for module in net.modules():  # in evaluation its CPU engine knows no bias
            module.training = hasattr(module, "subm")
        with torch.no_grad():
            y = net(x)
        dense = y if isinstance(y, torch.Tensor) else y.dense()
        arrays[f"{name}/output"] = dense.numpy()
        for key, value in net.state_dict().items():
            arrays[f"{name}/state/{key}"] = value.numpy()
    np.savez_compressed(Path(__file__).with_name("expected.npz"), **arrays)


if __name__ == "__main__":
    main()
