"""Draw the edges of one picture: $images (its path) -> $PFS/out/<its name>.png."""

import os
import sys
from pathlib import Path

import cv2

picture = Path(os.environ["images"])
out = Path(os.environ["PFS"], "out")

grey = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
if grey is None:
    sys.exit(f"{picture}: not a picture that OpenCV can read")

smooth = cv2.GaussianBlur(grey, (5, 5), 0)
# Otsu's threshold follows each picture's own contrast, so dark and bright ones both show their edges.
strong, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
edges = cv2.Canny(smooth, strong / 2, strong)

target = out / f"{picture.stem}.png"
if not cv2.imwrite(str(target), edges):
    sys.exit(f"{target}: cannot be written")
