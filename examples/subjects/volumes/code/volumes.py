"""Describe two images of one subject: $t1, $t2 (their paths) -> $PFS/out/volumes.tsv.

The paths hold no subject's label, as the spec says `identity: content`. So the result stands, under another name, for
another subject with the same images.
"""

import math
import os
from pathlib import Path

import nibabel
import numpy as np

COLUMNS = ("image", "shape", "voxel_mm", "volume_ml", "mean", "sd", "min", "max")


def row(name: str) -> list[str]:
    """One image's line; figures of a series are over all its volumes."""
    image = nibabel.load(os.environ[name])
    voxel = [float(size) for size in image.header.get_zooms()[:3]]  # mm
    data = np.asanyarray(image.dataobj).astype(float)
    millilitres = math.prod(voxel) * math.prod(image.shape[:3]) / 1000
    figures = (millilitres, data.mean(), data.std(), data.min(), data.max())
    shape, size = "x".join(map(str, image.shape)), "x".join(f"{mm:.3g}" for mm in voxel)
    return [name, shape, size, *(f"{figure:.6g}" for figure in figures)]


lines = [COLUMNS, row("t1"), row("t2")]
Path(os.environ["PFS"], "out", "volumes.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
