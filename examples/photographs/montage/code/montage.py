"""All pictures on one sheet, their edges below: $images, $edges (folders) -> $PFS/out/contact-sheet.png."""

import os
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

COLUMNS = 5
THUMB = (200, 150)  # width, height of the box that a picture is fitted into, in pixels
GAP = 10
LABEL = 22
CELL = (THUMB[0] + GAP, 2 * THUMB[1] + LABEL + 2 * GAP)

images, edges = Path(os.environ["images"]), Path(os.environ["edges"])
out = Path(os.environ["PFS"], "out")


def pictures(folder: Path) -> dict[str, Path]:
    """The pictures at the top of a folder by name without suffix, in the order of their names."""
    kinds = {".jpg", ".jpeg", ".png"}
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in kinds}


def thumbnail(path: Path) -> Image.Image:
    """The picture, fitted and centred on black."""
    with Image.open(path) as picture:
        return ImageOps.pad(picture.convert("RGB"), THUMB, color="black")


originals, outlines = pictures(images), pictures(edges)
if missing := sorted(originals.keys() - outlines.keys()):
    sys.exit(f"no edges for: {', '.join(missing)}")
if not originals:
    sys.exit(f"{images}: no pictures")

rows = -(-len(originals) // COLUMNS)
sheet = Image.new("RGB", (min(COLUMNS, len(originals)) * CELL[0] + GAP, rows * CELL[1] + GAP), "white")
draw = ImageDraw.Draw(sheet)
font = ImageFont.load_default(size=14)  # comes with Pillow: the same letters on every machine
for index, (name, path) in enumerate(originals.items()):
    x = GAP + index % COLUMNS * CELL[0]
    y = GAP + index // COLUMNS * CELL[1]
    sheet.paste(thumbnail(path), (x, y))
    sheet.paste(thumbnail(outlines[name]), (x, y + THUMB[1]))
    draw.text((x, y + 2 * THUMB[1] + 2), name, fill="black", font=font)
sheet.save(out / "contact-sheet.png")
