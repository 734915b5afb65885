"""The program of a chunk's pod in an Argo workflow: it runs the sets of one item of the sequence, as `task` does.

Arguments: the folder of the clones, the project's address, the pipeline's path, the batches. The item is in
MINIPACH_ARGO_ITEM.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from minipach.executors.kubernetes.argo import ITEM
from minipach.executors.kubernetes.argo_step import place_of
from minipach.executors.kubernetes.manifest import INDEX_VARIABLE
from minipach.executors.kubernetes.task import end_as


def as_index(arguments: Sequence[str], item: int) -> tuple[list[str], int]:
    """Return the arguments of `task`, and the index that it is to run. Raises ValueError."""
    *others, batches = arguments
    name, index = place_of(batches, item)
    return [*others, name], index


if __name__ == "__main__":
    words, number = as_index(sys.argv[1:], int(os.environ[ITEM]))
    os.environ[INDEX_VARIABLE] = str(number)
    end_as(words)
