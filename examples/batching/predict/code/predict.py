"""Predict with a model that loads slowly: it is loaded once, and gets one picture after the other."""

import hashlib
import os
import subprocess
import time
from pathlib import Path

PFS = Path(os.environ.get("PFS", "/pfs"))


def load() -> str:
    """Load the model; this one does nothing but take its time."""
    time.sleep(float(os.environ.get("LOADING", "5")))
    return "model"


def predict(model: str, picture: bytes) -> str:
    """Return what the model sees in a picture."""
    time.sleep(float(os.environ.get("PREDICTING", "0.1")))
    return hashlib.sha256(model.encode() + picture).hexdigest()


def main() -> None:
    """Predict for each picture that there is."""
    model = load()
    while subprocess.run(["minipach-next"], check=False).returncode == 0:
        for picture in (PFS / "images").iterdir():
            (PFS / "out" / f"{picture.stem}.txt").write_text(predict(model, picture.read_bytes()) + "\n")


if __name__ == "__main__":
    main()
