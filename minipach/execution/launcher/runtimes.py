"""The choice of a runtime for an image: the first that works here."""

from __future__ import annotations

import os

from minipach.execution.launcher.candidates import CANDIDATES
from minipach.execution.launcher.core import Failure, no_part
from minipach.execution.launcher.runtime import RUNTIMES


def pick_runtime(image, dataset):
    """The first runtime that can run this image here. To be installed is not enough. Raises Failure."""
    candidates = CANDIDATES[image.kind]
    if not RUNTIMES.keys() >= set(candidates):
        raise no_part("an image of this kind (" + image.kind + ")")
    wanted = os.environ.get("MINIPACH_RUNTIME")
    if wanted:
        if wanted not in candidates:
            what = f"MINIPACH_RUNTIME={wanted} can't run this image ({image.kind}); what can: "
            raise Failure(what + " ".join(candidates))
        candidates = (wanted,)
    reasons = ""
    for name in candidates:
        runtime = RUNTIMES[name](image, dataset)
        why = runtime.problem()
        if not why:
            return runtime
        reasons += "; " + name + ": " + why
    raise Failure("no runtime here for this image (" + image.kind + ")" + reasons)
