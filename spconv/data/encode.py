"""Images to active sites: the first step of a spatially-sparse network."""

from __future__ import annotations

import numpy as np


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
    images : array (B, H, W)
        uint8 values are divided by 255; floating-point values are taken as they are.
    field : int or (int, int)
        The grid's height and width; one number for a square.
    position : "center" or integers, shape (2,) or (B, 2)
        Where the image's corner (0, 0) goes, as (y, x); one place for all or one for each. The
        middle is ``(field - size) // 2``. A part of the image may lie outside the field as long as
        it has no active pixel.
    threshold : float
        A pixel is active where its (divided) value is greater.

    Returns
    -------
    indices : int32 array (N, 3)
        The active sites (batch, y, x), sorted.
    features : float array (N, 1)
        Their values; float64 for float64 images, float32 otherwise.

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
    if images.ndim != 3:
        raise ValueError(f"encode_images: images must have shape (B, H, W), got {images.shape}")
    if images.dtype == np.uint8:
        scale, least = 1 / 255, threshold * 255
    elif np.issubdtype(images.dtype, np.floating):
        scale, least = 1.0, threshold
    else:
        raise TypeError(f"encode_images: images must be uint8 or floats, got {images.dtype}")
    grid = field_shape(field)
    height, width = images.shape[1:]

    flat = np.flatnonzero(images > least)
    value_type = np.dtype("f8" if images.dtype == np.float64 else "f4")
    features = images.reshape(-1)[flat, None].astype(value_type) * scale
    indices = np.empty((len(flat), 3), np.int32)
    rows, indices[:, 2] = np.divmod(flat, max(width, 1))
    indices[:, 0], indices[:, 1] = np.divmod(rows, max(height, 1))
    corners = _corners(position, grid, images.shape)
    indices[:, 1:] += corners[indices[:, 0]] if corners.ndim == 2 else corners

    outside = ((indices[:, 1:] < 0) | (indices[:, 1:] >= grid)).any(axis=1)
    if outside.any():
        sample, y, x = indices[outside.argmax()].tolist()
        raise ValueError(
            f"encode_images: all active pixels must lie in the field {grid}, got one of "
            f"image {sample} at {(y, x)} ({int(outside.sum())} outside in all); "
            "use a larger field or another position"
        )
    return indices, features


def field_shape(field: int | tuple[int, int], who: str = "encode_images") -> tuple[int, int]:
    """Height and width of the grid; one number is a square's."""
    shape = (field, field) if isinstance(field, (int, np.integer)) else tuple(field)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{who}: field must be one or two positive sizes, got {field}")
    return int(shape[0]), int(shape[1])


def _corners(
    position: str | np.ndarray | tuple[int, int],
    grid: tuple[int, int],
    images_shape: tuple[int, ...],
) -> np.ndarray:
    """Where the images' corners go: int32 (2,) or (B, 2)."""
    if isinstance(position, str):
        if position != "center":
            raise ValueError(
                f"encode_images: position must be 'center' or integers (y, x), got {position!r}"
            )
        sizes = images_shape[1:]
        return np.array([(f - s) // 2 for f, s in zip(grid, sizes, strict=True)], np.int32)
    corners = np.asarray(position)
    if not np.issubdtype(corners.dtype, np.integer):
        raise TypeError(f"encode_images: position must hold integers, got {corners.dtype}")
    if corners.shape not in ((2,), (images_shape[0], 2)):
        raise ValueError(
            f"encode_images: position must have shape (2,) or ({images_shape[0]}, 2), "
            f"got {corners.shape}"
        )
    return corners.astype(np.int32)
