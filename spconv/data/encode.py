"""Images to active sites: the first step of a spatially-sparse network."""

from __future__ import annotations

import numpy as np

from spconv.geometry import ntuple
from spconv.kernels import resample as kernels


def encode_images(
    images: np.ndarray,
    field: int | tuple[int, int],
    position: str | np.ndarray | tuple[int, int] = "center",
    threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The inked pixels of a batch of images, as sites of a larger grid.

    Graham 2014 (arXiv 1409.6070, section 3) puts each character in the middle of a field that is
    much larger than itself, such as 96 x 96 for DeepCNet(5, k); the rest of the field is inactive
    and costs nothing.

    Parameters
    ----------
    images : array (B, H, W) or (B, C, H, W)
        uint8 values are divided by 255; floating-point values are taken as they are. The channels
        of pictures often come last: ``pictures.transpose(0, 3, 1, 2)`` is in this order. Background
        is 0: ``255 - pictures`` has it black where it was white.
    field : int or (int, int)
        The grid's height and width; one number for a square.
    position : "center" or integers, shape (2,) or (B, 2)
        Where the image's corner (0, 0) goes, as (y, x); one place for all or one for each. The
        middle is ``(field - size) // 2``. A part of the image may lie outside the field as long as
        it has no active pixel.
    threshold : float
        A pixel is active where its (divided) value is greater, or no number, in any channel.

    Returns
    -------
    indices : int32 array (N, 3)
        The active sites (batch, y, x), sorted.
    features : float array (N, C)
        Their values in all channels; float64 for float64 images, float32 otherwise.

    Raises
    ------
    ValueError
        If an active pixel falls outside the field.

    Examples
    --------
    >>> images = np.zeros((1, 2, 2), np.uint8)
    >>> images[0, 0, 1] = 255
    >>> indices, features = encode_images(images, field=6)
    >>> indices, features
    (array([[0, 2, 3]], dtype=int32), array([[1.]], dtype=float32))
    """
    images = np.asarray(images)
    check_images("encode_images", images.shape)
    if images.dtype == np.uint8:
        scale, least = 1 / 255, threshold * 255
    elif np.issubdtype(images.dtype, np.floating):
        scale, least = 1.0, threshold
    else:
        raise TypeError(f"encode_images: images must be uint8 or floats, got {images.dtype}")
    grid = field_shape(field)

    if images.dtype not in (np.uint8, np.float32, np.float64):
        images = images.astype(np.float32)
    # A maximum is no number where one of its values is none.
    inked = np.ascontiguousarray(images if images.ndim == 3 else images.max(axis=1))
    count = kernels.count_inked(inked.reshape(-1), least)
    features = np.empty((count, 1), "f8" if images.dtype == np.float64 else "f4")
    indices = np.empty((count, 3), np.int32)
    corners = _corners(position, grid, inked.shape)
    if count and kernels.inked_pixels(inked, least, scale, corners, *grid, features, indices):
        outside = ((indices[:, 1:] < 0) | (indices[:, 1:] >= grid)).any(axis=1)
        sample, y, x = indices[outside.argmax()].tolist()
        raise ValueError(
            f"encode_images: all active pixels must lie in the field {grid}, got one of "
            f"image {sample} at {(y, x)} ({int(outside.sum())} outside in all); "
            "use a larger field or another position"
        )
    if images.ndim == 4:
        sample, y, x = indices.T
        values = images[sample, :, y - corners[sample, 0], x - corners[sample, 1]]
        features = values.astype(features.dtype) * features.dtype.type(scale)
    return indices, features


def check_images(who: str, shape: tuple[int, ...], batch: str = "B") -> None:
    """Raise ValueError unless a shape is that of images of one channel, or of several."""
    if len(shape) not in (3, 4) or (len(shape) == 4 and not shape[1]):
        raise ValueError(
            f"{who}: images must have shape ({batch}, H, W) or ({batch}, C, H, W), got {shape}"
        )


def field_shape(field: int | tuple[int, int], who: str = "encode_images") -> tuple[int, int]:
    """Height and width of the grid; one number is a square's."""
    height, width = ntuple(field, 2, "field", 1, who)
    return height, width


def _corners(
    position: str | np.ndarray | tuple[int, int],
    grid: tuple[int, int],
    images_shape: tuple[int, ...],
) -> np.ndarray:
    """Where the images' corners go: int64 (B, 2)."""
    if isinstance(position, str):
        if position != "center":
            raise ValueError(
                f"encode_images: position must be 'center' or integers (y, x), got {position!r}"
            )
        position = ((grid[0] - images_shape[1]) // 2, (grid[1] - images_shape[2]) // 2)
    corners = np.asarray(position)
    if not np.issubdtype(corners.dtype, np.integer):
        raise TypeError(f"encode_images: position must hold integers, got {corners.dtype}")
    if corners.shape not in ((2,), (images_shape[0], 2)):
        raise ValueError(
            f"encode_images: position must have shape (2,) or ({images_shape[0]}, 2), "
            f"got {corners.shape}"
        )
    return np.ascontiguousarray(np.broadcast_to(corners, (images_shape[0], 2)), np.int64)
