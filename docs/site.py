"""Hooks of mkdocs: pages of the repository that lie outside of docs/, and links between them and docs/."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# File of the repository: page of the site. All of docs/ are pages by themselves.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "containers/README.md": "containers/index.md",
    "examples/photographs/README.md": "examples/photographs/index.md",
    "examples/subjects/README.md": "examples/subjects/index.md",
}
_SOURCES = {page: source for source, page in OUTSIDE.items()}
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to where their targets are on the site."""
    source = PurePosixPath(_SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    here = str(PurePosixPath(page.file.src_uri).parent)

    def target_of(link: re.Match[str]) -> str:
        return os.path.normpath(source.parent / link["target"])

    def relink(link: re.Match[str]) -> str:
        found = page_of(target_of(link))
        if found is None:
            # A file of the repository that is no page. What does not exist is left for the strict build to report.
            return f"{link['text']} (`{target_of(link)}`)" if (ROOT / target_of(link)).exists() else link[0]
        return f"[{link['text']}]({os.path.relpath(found, here)}{link['anchor'] or ''})"

    def reimage(link: re.Match[str]) -> str:
        return f"![{link['text']}]({os.path.relpath(target_of(link).removeprefix('docs/'), here)})"

    return _IMAGE.sub(reimage, _LINK.sub(relink, markdown))


def page_of(path: str) -> str | None:
    """Return the page of the site for a file or folder of the repository; None if it has none."""
    for name in (path, f"{path}/README.md"):
        if name in OUTSIDE:
            return OUTSIDE[name]
    if path.startswith("docs/") and (ROOT / path).is_file():
        return path.removeprefix("docs/")
    return None
