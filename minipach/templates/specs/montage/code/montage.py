"""All pictures on one sheet: $images (a folder) -> $PFS/out/contact-sheet.png. Arguments: columns, width of one."""

import os
import sys
from pathlib import Path

from PIL import Image, ImageOps

columns, width = map(int, sys.argv[1:])
height, gap = width * 3 // 4, 10
images = Path(os.environ["images"])
paths = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
if not paths:
    sys.exit(f"{images}: no pictures")

rows = -(-len(paths) // columns)
sheet = Image.new("RGB", (min(columns, len(paths)) * (width + gap) + gap, rows * (height + gap) + gap), "white")
for index, path in enumerate(paths):
    with Image.open(path) as picture:
        small = ImageOps.pad(picture.convert("RGB"), (width, height), color="black")
    sheet.paste(small, (gap + index % columns * (width + gap), gap + index // columns * (height + gap)))
sheet.save(Path(os.environ["PFS"], "out", "contact-sheet.png"))
