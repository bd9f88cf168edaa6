"""Networks and layers that several tests take."""

import spconv


def batchwise_dropout_chain():
    """Batchwise dropout in front of, behind and between all kinds of layers."""
    return spconv.SparseSequential(
        spconv.SubMConv2d(4, 10, 3),
        spconv.LeakyReLU(0.3),
        spconv.SparseMaxPool2d(2),
        spconv.BatchwiseDropout(0.6),
        spconv.SparseConv2d(10, 8, 2),
        spconv.Sigmoid(),  # not zero at zero
        spconv.BatchwiseDropout(0.5),
        spconv.SubMConv2d(8, 12, 1, bias=False),
        spconv.SparseAvgPool2d(2, stride=1),
        spconv.Tanh(),
        spconv.BatchwiseDropout(0.25),
        spconv.SparseConvTranspose2d(12, 6, 2, stride=2, groups=2),
        spconv.BatchwiseDropout(0.5),
        spconv.BatchwiseDropout(0.3),
        spconv.ReLU(),
        spconv.Linear(6, 7),
        spconv.BatchwiseDropout(0.5),
        spconv.BatchNorm(7),
        spconv.BatchwiseDropout(0.5),
    )


class Negated(spconv.SubMConv2d):
    """A user's own convolution: what the library does with its own must not happen to it."""

    def forward(self, x, keep=None):
        y = super().forward(x, keep=keep)
        return y.replace_feature(-y.features)


class Shifted(spconv.BatchNorm):
    """A user's own normalization."""

    def forward(self, x):
        y = super().forward(x)
        return y.replace_feature(y.features + 0.5)
