"""The report of a project as one HTML file: it needs no other file, and makes no request.

Small pictures are in it as they are, larger ones as small copies, where Pillow is installed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minipach.console.previews import PICTURES, is_picture, kind_of
from minipach.console.rendering import asset, data_address, render
from minipach.console.thumbnails import INSTALL, is_possible, thumbnail
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import TreeEntry
from minipach.project.project import Project
from minipach.views.contents import entry_at, read_content
from minipach.views.dag_svg import as_svg
from minipach.views.project_report import ProjectReport, ReportedPipeline

LARGEST = 5_000_000  # bytes of the file
_PICTURE = 60_000  # bytes of a picture that is shown as it is
_LARGE = 20_000_000  # bytes of a picture that has a small copy
_MOST_LARGE = 100  # large pictures of one pipeline that are read
_ALL_PICTURES = 1_500_000  # bytes of all of them
_PER_PIPELINE = 24  # pictures of one pipeline
_ROWS = 2000  # of each table, before it is known how large rows are


@dataclass(frozen=True, slots=True)
class Picture:
    """An output that is a picture. address: a `data:` address with its content, or a small copy.

    size: of the picture that this is a small copy of ("": it is the picture itself).
    """

    pipeline: str
    path: str
    address: str
    size: str = ""


def report_html(project: Project, report: ProjectReport) -> str:
    """Return the report as an HTML document of at most LARGEST bytes.

    Tables that do not fit are cut, and say how many rows the JSON file has besides.
    """
    pictures = list(_pictures(project, report))
    fixed = {"report": report, "svg": as_svg(report.dag), "style": asset("console.css"), "pictures": pictures}
    fixed["unseen"] = _unseen(report, pictures)
    fixed["most_pictures"] = _PER_PIPELINE
    fixed["install"] = "" if is_possible() else INSTALL

    def page_of(rows: int) -> tuple[str, int]:
        page = render("report.html", most=rows, **fixed)
        return page, len(page.encode())

    longest = max((max(len(one.made), len(one.left_out)) for one in report.pipelines), default=0)
    rows = min(longest, _ROWS)
    page, size = page_of(rows)
    if size <= LARGEST and rows == longest:
        return page
    bare, least = page_of(0)
    each = max((size - least) / max(rows, 1), 1.0)  # bytes of a row, as far as is known
    rows = min(longest, int((LARGEST - least) / each))
    while rows > 0:
        page, size = page_of(rows)
        if size <= LARGEST:
            return page
        rows = rows * 9 // 10
    return bare


def _unseen(report: ProjectReport, pictures: Sequence[Picture]) -> dict[str, int]:
    """Return how many outputs of each pipeline have names of pictures and are not shown."""
    names = {
        one.name: sum(o.path.lower().endswith(PICTURES) for made in one.made for o in made.outputs)
        for one in report.pipelines
    }
    shown = Counter(picture.pipeline for picture in pictures)
    return {name: count - shown[name] for name, count in names.items()}


def _pictures(project: Project, report: ProjectReport) -> Iterator[Picture]:
    left = _ALL_PICTURES
    for pipeline in report.pipelines:
        if not pipeline.commit or not is_dataset(project.root / pipeline.path):
            continue
        repo = Repo(project.root / pipeline.path)
        try:
            for one in _pictures_of(repo, pipeline):
                left -= len(one.address)
                if left < 0:
                    return
                yield one
        finally:
            repo.close()


def _pictures_of(repo: Repo, pipeline: ReportedPipeline) -> Iterator[Picture]:
    found = large = 0
    can_shrink = is_possible()
    for path in (o.path for made in pipeline.made for o in made.outputs):
        if not path.lower().endswith(PICTURES):
            continue
        entry: TreeEntry | None = entry_at(repo, pipeline.commit, path)
        content = read_content(repo, entry, _LARGE if can_shrink else _PICTURE) if entry else None
        if content is None or content.data is None or not content.is_whole or not is_picture(content.data):
            continue
        if len(content.data) <= _PICTURE:
            yield Picture(pipeline.name, path, data_address(kind_of(path, content.data), content.data))
        else:
            large += 1
            small = thumbnail(content.data, path) if large <= _MOST_LARGE else None
            if small is None:
                continue
            address = data_address("image/jpeg", small.data)
            yield Picture(pipeline.name, path, address, f"{small.wide} × {small.high}")
        found += 1
        if found == _PER_PIPELINE:
            return
