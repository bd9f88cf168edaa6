"""The parts of gpu.py: floors, PyTorch beside it, whole networks, plots."""
