"""What mkdocs runs when it builds the documentation: pages that are made of the package come in here."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parent))

from docs_reference import PAGES


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages."""
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    return files
