"""`egress`: outputs under their names in a folder, on a host or in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_json
from minipach.cli.options import JSON, LOCK_WAIT, PIPELINE
from minipach.cli.sections import SHARE, add

PLACE = Annotated[
    str | None,
    typer.Argument(metavar="DIR", help="Send to this folder, ssh://HOST/PATH or s3://BUCKET/PREFIX. [default: spec's]"),
]


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, SHARE, egress)


@guarded
def egress(
    context: typer.Context, pipeline: PIPELINE, place: PLACE = None, as_json: JSON = False, wait: LOCK_WAIT = True
) -> None:
    """Send the outputs of a pipeline somewhere, under their names.

    Sends what is new, then a manifest, then removes what is gone. A renamed file is not sent again. Run the same
    command again after an interruption. A repo with data works, too. AWS_ENDPOINT_URL names the S3 server.

    Without DIR, `egress` of the spec names the place. That confirms it in this clone, and each schedule sends from then
    on.

    Example: minipach egress edges /srv/www/edges, or minipach egress edges s3://results/edges
    """
    from minipach.project.lock import project_lock
    from minipach.publish.egress import egress as send

    here: Here = context.obj
    project = here.project()
    where = place if not place or "://" in place else str((here.directory / Path(place)).absolute())
    with project_lock(project.local.lock, wait=wait, notify=say):
        done = send(project, pipeline, where)
    if as_json:
        show_json({"schema": 1, **done.as_json()})
        return
    show(done.text)
