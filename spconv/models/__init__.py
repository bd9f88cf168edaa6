"""Networks."""

from spconv.models.deepcnet import DeepCNet, DeepCNiN
from spconv.models.simple_cnn import SimpleCNN
from spconv.models.twin import dense_twin

__all__ = ["DeepCNet", "DeepCNiN", "SimpleCNN", "dense_twin"]
