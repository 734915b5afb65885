"""Small copies of pictures: of each format and depth, never of what is broken, and without what a file says besides."""

from __future__ import annotations

import io
import random

import pytest

from minipach.console.thumbnails import thumbnail
from tests.fixtures.pictures import bomb, deep_picture, large_picture

Image = pytest.importorskip("PIL.Image")


def shown(data: bytes) -> tuple[str, tuple[int, int]]:
    """The format and the size of a picture."""
    with Image.open(io.BytesIO(data)) as found:
        found.load()
        return found.format, found.size


def test_a_copy_is_small_and_the_same_each_time() -> None:
    data = large_picture(1000, 500)
    copy = thumbnail(data)
    assert copy is not None and (copy.wide, copy.high) == (1000, 500)
    assert shown(copy.data) == ("JPEG", (320, 160)) and thumbnail(data) == copy


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_each_format_that_previews_have(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (640, 400), "red").save(out, kind)
    copy = thumbnail(out.getvalue())
    assert copy is not None and shown(copy.data) == ("JPEG", (320, 200))
    with Image.open(io.BytesIO(copy.data)) as found:
        red, green, blue = found.convert("RGB").getpixel((160, 100))
    assert red > 240 and green < 16 and blue < 16


def test_what_is_transparent_is_white() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(out, "PNG")
    copy = thumbnail(out.getvalue())
    assert copy is not None
    with Image.open(io.BytesIO(copy.data)) as found:
        assert found.getpixel((100, 100)) == (255, 255, 255)


def test_more_than_eight_bits_are_from_black_to_white() -> None:
    half = [[1000] * 200 + [1500] * 200 for _ in range(200)]
    copy = thumbnail(deep_picture(half))
    assert copy is not None
    with Image.open(io.BytesIO(copy.data)) as found:
        assert found.getpixel((20, 50)) < 10 and found.getpixel((300, 50)) > 245
    assert thumbnail(deep_picture([[7] * 9] * 9)) is not None, "all of it alike"


def test_a_copy_is_turned_and_has_no_place_of_a_camera() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010F] = "a camera"
    out = io.BytesIO()
    Image.new("RGB", (640, 320), "blue").save(out, "JPEG", exif=exif, icc_profile=b"a profile", comment=b"a comment")
    copy = thumbnail(out.getvalue())
    assert copy is not None and shown(copy.data) == ("JPEG", (160, 320))
    assert not any(words in copy.data for words in (b"Exif", b"camera", b"profile", b"comment"))


def test_what_is_left_out_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "minipach.console"):
        assert thumbnail(bomb(), "many.png") is None and thumbnail(large_picture()[:90], "short.png") is None
    assert caplog.messages == [
        "report: many.png is left out: it has more than 50 million pixels",
        "report: short.png is left out: it is broken",
    ]


def test_broken_pictures_and_those_of_too_many_pixels_have_none() -> None:
    data = large_picture()
    noise = random.Random(2)
    assert thumbnail(bomb()) is None
    assert thumbnail(b"") is None and thumbnail(b"<svg onload=alert(1)>") is None
    for cut in (8, 20, 33, 40, 1000, 60_000):
        assert thumbnail(data[:cut]) is None
    for _ in range(30):
        broken = bytearray(data)
        for _ in range(5):
            broken[noise.randrange(8, 200)] = noise.randrange(256)
        copy = thumbnail(bytes(broken))
        assert copy is None or shown(copy.data)[0] == "JPEG"
