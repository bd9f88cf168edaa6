"""Pure integer geometry: kernel parameters, output shapes, kernel offsets. No arrays of sites."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from operator import index

from spconv.cached import cached_property

IntOrTuple = int | Sequence[int]

MAX_CELLS = 2**60
"""Largest number of grid cells (batch included) whose keys are sure to fit in int64."""
MAX_EXTENT = 2**31
"""Coordinates are int32."""
MAX_OFFSETS = 2**31 - 1
"""Largest number of kernel offsets."""
MAX_NDIM = 8
"""A key is a sum over the axes, each of which may add -MAX_CELLS to say "no such site"."""


def ntuple(value: IntOrTuple, ndim: int, name: str, minimum: int, owner: str) -> tuple[int, ...]:
    """Expand an int to ``ndim`` ints, or check a sequence of ``ndim`` ints.

    >>> ntuple(3, 2, "kernel_size", 1, "SparseConv2d")
    (3, 3)
    """
    try:
        values = (index(value),) * ndim  # type: ignore[arg-type]
    except TypeError:
        try:
            values = tuple(index(v) for v in value)  # type: ignore[union-attr]
        except TypeError:
            raise TypeError(
                f"{owner}: {name} must be an int or a sequence of {ndim} ints, got {value!r}"
            ) from None
    if len(values) != ndim:
        raise ValueError(
            f"{owner}: {name} must be an int or have ndim = {ndim} entries, got {values}"
        )
    if max(values, default=0) >= 2**31:
        raise ValueError(f"{owner}: {name} must be smaller than 2**31, got {values}")
    if min(values, default=minimum) < minimum:
        raise ValueError(f"{owner}: {name} must be at least {minimum}, got {values}")
    return values


@dataclass(frozen=True)
class Geometry:
    """How a kernel walks over a grid; every field is a tuple of ``ndim`` ints.

    ``submanifold`` keeps the input's sites and pads implicitly (PyTorch's "same" phase);
    ``transposed`` exchanges the roles of input and output.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    submanifold: bool = False
    transposed: bool = False

    @classmethod
    def make(
        cls,
        ndim: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: IntOrTuple = 0,
        dilation: IntOrTuple = 1,
        output_padding: IntOrTuple = 0,
        *,
        submanifold: bool = False,
        transposed: bool = False,
        owner: str = "spconv",
    ) -> Geometry:
        """Check and expand user input.

        Raises
        ------
        TypeError, ValueError
            Naming ``owner``, the parameter, what was expected and what came.
        """
        if ndim > MAX_NDIM:
            raise ValueError(f"{owner}: at most {MAX_NDIM} spatial dimensions, got {ndim}")
        size = ntuple(kernel_size, ndim, "kernel_size", 1, owner)
        if prod(size) > MAX_OFFSETS:
            raise ValueError(
                f"{owner}: kernel_size {size} has {prod(size)} offsets, a rulebook at most "
                f"{MAX_OFFSETS}"
            )
        step = ntuple(stride, ndim, "stride", 1, owner)
        spread = ntuple(dilation, ndim, "dilation", 1, owner)
        pad = ntuple(padding, ndim, "padding", 0, owner)
        extra = ntuple(output_padding, ndim, "output_padding", 0, owner)
        if submanifold:
            if any(s != 1 for s in step):
                raise ValueError(
                    f"{owner}: a submanifold convolution has stride 1, got stride={step}; "
                    "use SparseConv to change the resolution"
                )
            pad = tuple(d * (k - 1) // 2 for k, d in zip(size, spread, strict=True))
        if any(extra) and not transposed:
            raise ValueError(f"{owner}: output_padding belongs to transposed convolutions only")
        if any(e >= max(s, d) for e, s, d in zip(extra, step, spread, strict=True)):
            raise ValueError(
                f"{owner}: output_padding must be smaller than stride or dilation, "
                f"got output_padding={extra}, stride={step}, dilation={spread}"
            )
        return cls(size, step, pad, spread, extra, submanifold, transposed)

    @property
    def ndim(self) -> int:
        return len(self.kernel_size)

    @cached_property
    def volume(self) -> int:
        """Number of kernel offsets K."""
        return prod(self.kernel_size)

    @property
    def unit_stride(self) -> bool:
        return all(s == 1 for s in self.stride)

    @cached_property
    def symmetric(self) -> bool:
        """Whether offset K - 1 - k of a submanifold kernel points opposite to offset k."""
        spans = (d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True))
        return self.submanifold and all(span % 2 == 0 for span in spans)

    @cached_property
    def disjoint(self) -> bool:
        """Whether windows lie side by side, so that a site has one output at most."""
        return (
            self.kernel_size == self.stride
            and not (self.transposed or self.submanifold or any(self.padding))
            and all(d == 1 for d in self.dilation)
        )

    def output_shape(self, spatial_shape: Sequence[int], owner: str = "spconv") -> tuple[int, ...]:
        """Spatial shape of the output.

        >>> Geometry.make(2, kernel_size=3, stride=2, padding=1).output_shape((9, 8))
        (5, 4)
        """
        if len(spatial_shape) != self.ndim:
            raise ValueError(
                f"{owner}: expected a grid of {self.ndim} dimensions for {self.describe()}, got "
                f"spatial_shape {tuple(spatial_shape)}"
            )
        if self.submanifold:
            return tuple(spatial_shape)
        axes = zip(spatial_shape, self.stride, self._margins, strict=True)
        if self.transposed:
            shape = tuple([(extent - 1) * s + m + 1 for extent, s, m in axes])
        else:
            shape = tuple([(extent - m - 1) // s + 1 for extent, s, m in axes])
        if min(shape) < 1:
            axis, size = next((axis, size) for axis, size in enumerate(shape) if size < 1)
            raise ValueError(
                f"{owner}: the output would have size {size} on axis {axis}: "
                f"spatial_shape {tuple(spatial_shape)} is too small for {self.describe()}"
            )
        return shape

    @cached_property
    def _margins(self) -> tuple[int, ...]:
        """By how much the larger side is larger on each axis, stride aside."""
        kernel = zip(
            self.kernel_size, self.padding, self.dilation, self.output_padding, strict=True
        )
        return tuple(d * (k - 1) - 2 * p + e for k, p, d, e in kernel)

    def offsets(self) -> list[tuple[int, ...]]:
        """Kernel offsets in row-major order, without dilation and padding.

        >>> Geometry.make(2, kernel_size=(1, 3)).offsets()
        [(0, 0), (0, 1), (0, 2)]
        """
        return list(itertools.product(*(range(k) for k in self.kernel_size)))

    def describe(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        extra = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return f"{text}, dilation={self.dilation}{extra}"


def check_cells(spatial_shape: Sequence[int], batch_size: int, owner: str) -> None:
    """Raise before a grid is used that is too large for int32 coordinates or int64 keys."""
    if max(batch_size, *spatial_shape) > MAX_EXTENT:
        raise ValueError(
            f"{owner}: batch_size {batch_size} x spatial_shape {tuple(spatial_shape)} has an "
            f"extent above {MAX_EXTENT}, but coordinates are int32"
        )
    cells = batch_size * prod(spatial_shape)
    if cells > MAX_CELLS:
        raise ValueError(
            f"{owner}: batch_size {batch_size} x spatial_shape {tuple(spatial_shape)} has "
            f"{cells} cells, more than the {MAX_CELLS} that int64 keys can address"
        )
