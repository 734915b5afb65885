"""DataLad's commands are imported one by one; the others, when something uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_IMPORTS = """
import json, sys
from minipach.git.datalad_imports import import_containers_run
import_containers_run()
from datalad.support import s3
early = "boto3.session" in sys.modules
used = s3.boto3.session.Session
import boto3
from boto3.session import Session
print(json.dumps([early, used is boto3.session.Session is Session]))
"""
_OTHER_COMMANDS = """
import json, sys
from minipach.git.datalad_imports import import_containers_run
import_containers_run()
from datalad_container.containers_list import subdatasets
early = "datalad.local.addurls" in sys.modules
from datalad.distribution.dataset import Dataset
method = Dataset(".").addurls
import datalad.api as all_of_it
print(json.dumps([early, callable(method), all_of_it.subdatasets is subdatasets, callable(all_of_it.siblings)]))
"""
_CREATE = """
import json, sys
from minipach.git.datalad_imports import datalad_create
made = datalad_create()(path="new", result_renderer="disabled", return_type="list")
print(json.dumps([made[0].path, "boto3.session" in sys.modules, "datalad.api" in sys.modules]))
"""


def test_the_client_of_s3_is_imported_when_it_is_used() -> None:
    found = json.loads(subprocess.check_output([sys.executable, "-c", _IMPORTS]))
    assert found == [False, True]


def test_the_other_commands_of_datalad_are_imported_when_they_are_used() -> None:
    found = json.loads(subprocess.check_output([sys.executable, "-c", _OTHER_COMMANDS]))
    assert found == [False, True, True, True]


def test_a_dataset_is_created_without_the_other_commands(tmp_path: Path) -> None:
    found = json.loads(subprocess.check_output([sys.executable, "-c", _CREATE], cwd=tmp_path))
    assert found == [str(tmp_path / "new"), False, False]
    assert (tmp_path / "new/.datalad/config").is_file()
