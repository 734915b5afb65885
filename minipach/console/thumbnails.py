"""Small copies of pictures for the report, where Pillow is installed. A picture may be broken or hostile."""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

INSTALL = "pip install 'minipach[report]'"
_SIDE = 320  # pixels of a small copy, at most
_PIXELS = 50_000_000  # of a picture that is decoded, at most: a few bytes can say that there are many
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")  # those of previews.PICTURES

log = logging.getLogger("minipach.console")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small copy of a picture as JPEG. wide, high: of the picture, in pixels."""

    data: bytes
    wide: int
    high: int


def is_possible() -> bool:
    """Return whether small copies can be made: Pillow is installed."""
    return find_spec("PIL") is not None


def thumbnail(data: bytes, name: str = "a picture") -> Thumbnail | None:
    """Return a small copy of a picture; None: it is broken, or has too many pixels. Equal data give equal bytes."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                wide, high = picture.size
                if wide * high > _PIXELS:
                    raise Image.DecompressionBombError(f"{wide} × {high} pixels")
                return Thumbnail(_as_jpeg(_small(picture)), wide, high)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            log.info("report: %s is left out: it has more than %d million pixels", name, _PIXELS // 1_000_000)
        except Exception as error:  # decoders raise errors of many kinds for broken pictures
            log.info("report: %s is left out: it is broken", name)
            log.debug("report: %s: %s", name, error)
    return None


def _small(picture: Image) -> Image:
    """Return a small copy in grey or colour, on white where the picture is transparent."""
    from PIL import Image, ImageOps

    picture.draft("RGB", (_SIDE, _SIDE))  # a JPEG is decoded at a part of its size
    if picture.mode.startswith(("I", "F")):  # more than 8 bits: from the darkest to the brightest
        deep = picture.convert("F")
        deep.thumbnail((_SIDE, _SIDE))
        low, high = deep.getextrema()
        scale = 255.0 / ((high - low) or 1.0)  # type: ignore[operator]
        return deep.point(lambda value: value * scale - low * scale).convert("L")  # type: ignore[operator]
    small = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    small.thumbnail((_SIDE, _SIDE))
    small = ImageOps.exif_transpose(small)
    if small.mode == "RGB":
        return small
    white = Image.new("RGB", small.size, "white")
    white.paste(small, mask=small.getchannel("A"))
    return white


def _as_jpeg(picture: Image) -> bytes:
    """Return it without what its file says besides: places, cameras, profiles."""
    picture.info = {}
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80, optimize=True)
    return out.getvalue()
