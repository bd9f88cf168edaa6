"""The GPU engine.

``engine`` has the operations: ``gemm`` computes products, with tiles from ``tiles`` or ``tuner``
over tile maps; ``store`` keeps sites and rulebooks on the device, ``samples`` pools over samples;
``launch`` and ``compiler`` run the sources of ``spconv.kernels/cuda``. What stands in plain array
code is the specification of a ``kernel_`` module of the same name.
"""

from spconv.ops.cuda.engine import CudaOps

__all__ = ["CudaOps"]
