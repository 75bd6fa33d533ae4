"""Runs in the SDK 2's own environment: the notebook, its settings cell replaced by one for this image and folder, and
one epoch instead of ten.

Leaves the executed notebook in the folder.

    python sdk2_notebook.py IMAGE NOTEBOOK FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CELL_LIMIT_S = 600  # a cell that hangs, and not one that a busy machine keeps waiting


def main(image: str, path: Path, folder: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    (settings,) = [cell for cell in notebook.cells if "settings" in cell.metadata.get("tags", [])]
    settings.source = (
        "import logging\n"
        "from lesion_jobs import Environment\n"
        "logging.disable(logging.WARNING)\n"
        f"environment = Environment(image={image!r}, instance_type='local', output={str(folder / 'jobs')!r})\n"
        f"pictures_folder = {str(folder / 'data')!r}\n"
    )
    (training,) = [cell for cell in notebook.cells if '"epochs": 10' in cell.source]
    training.source = training.source.replace('"epochs": 10', '"epochs": 1')
    working_dir = folder / "notebooks"  # what the notebook writes beside itself goes here too
    working_dir.mkdir()
    NotebookClient(notebook, timeout=CELL_LIMIT_S, resources={"metadata": {"path": str(working_dir)}}).execute()
    nbformat.write(notebook, folder / "executed.ipynb")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
