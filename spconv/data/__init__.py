"""Data sets, and the way from images, pen strokes and point clouds to sparse tensors."""

from spconv.data.assamese import load_assamese
from spconv.data.augment import Affine, Elastic, Translate
from spconv.data.batch_loader import BatchLoader
from spconv.data.collate import collate
from spconv.data.download import find_file
from spconv.data.encode import encode_images
from spconv.data.loader import SparseLoader
from spconv.data.mnist import load_mnist
from spconv.data.packed import PackedStrokes, pack_strokes
from spconv.data.pendigits import load_pendigits
from spconv.data.point_augment import DropPoints, PointAffine
from spconv.data.rasterize import rasterize_strokes, strokes_to_sites
from spconv.data.stroke_augment import StrokeAffine
from spconv.data.stroke_encode import Direction, Occupancy, Octogram, Signature, encode_strokes
from spconv.data.stroke_loader import StrokeLoader
from spconv.data.strokes import load_strokes, make_strokes
from spconv.data.voxels import Voxels, voxelize

__all__ = [
    "Affine",
    "BatchLoader",
    "Direction",
    "DropPoints",
    "Elastic",
    "Occupancy",
    "Octogram",
    "PackedStrokes",
    "PointAffine",
    "Signature",
    "SparseLoader",
    "StrokeAffine",
    "StrokeLoader",
    "Translate",
    "Voxels",
    "collate",
    "encode_images",
    "encode_strokes",
    "find_file",
    "load_assamese",
    "load_mnist",
    "load_pendigits",
    "load_strokes",
    "make_strokes",
    "pack_strokes",
    "rasterize_strokes",
    "strokes_to_sites",
    "voxelize",
]
