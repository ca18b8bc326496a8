"""Files that a reader, or whoever goes on after an interruption, finds whole: the old one or the new one."""

import json
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write by a rename within the folder, which is made where it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


def write_json(path: Path, document: Any) -> None:
    """Write a document as JSON for people and programs. Raises OSError."""
    write_text(path, json.dumps(document, indent=2) + "\n")
