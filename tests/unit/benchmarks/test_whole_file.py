"""Files that are found whole."""

from pathlib import Path

from benchmarks import whole_file


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """Folders are made, the last text counts, and no draft stays."""
    path = tmp_path / "build" / "found.json"
    whole_file.write_json(path, {"first": 1})
    whole_file.write_json(path, {"second": 2})
    assert path.read_text() == '{\n  "second": 2\n}\n'
    assert list(path.parent.iterdir()) == [path]
