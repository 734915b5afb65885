"""Draw the edges of one picture: $images (its path) -> $PFS/out/<its name>.png. Argument: width of the blur."""

import os
import sys
from pathlib import Path

import cv2

picture = Path(os.environ["images"])
width = int(sys.argv[1]) | 1  # OpenCV wants an odd number

grey = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
if grey is None:
    sys.exit(f"{picture}: not a picture that OpenCV can read")

smooth = cv2.GaussianBlur(grey, (width, width), 0)
# Otsu's threshold follows each picture's own contrast, so dark and bright ones both show their edges.
strong, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
target = Path(os.environ["PFS"], "out", f"{picture.stem}.png")
if not cv2.imwrite(str(target), cv2.Canny(smooth, strong / 2, strong)):
    sys.exit(f"{target}: cannot be written")
