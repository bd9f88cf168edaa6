"""The parts of gpu.py and compare_gpu.py: floors, PyTorch, whole networks, plots, tables."""
