"""Vendored files are the released ones, and every file in the folder is accounted for."""

import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "static" / "vendor"
ROW = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?P<origin>[^|]+) \| (?P<version>[\d.]+) \| (?P<licence>[^|]+) "
    r"\| `(?P<here>[0-9a-f]{64})` \| (?:`(?P<removed>[^`]+)`)? ?\| `(?P<released>[0-9a-f]{64})` \|$",
    re.MULTILINE,
)


def rows() -> list[re.Match[str]]:
    """The lines of the table in VENDORED.md."""
    return list(ROW.finditer((FOLDER / "VENDORED.md").read_text()))


def test_every_vendored_file_is_listed() -> None:
    """The table names exactly the files in the folder."""
    present = {path.name for path in FOLDER.iterdir()} - {"VENDORED.md"}
    assert {row["file"] for row in rows()} == present
    assert {"bootstrap.min.css", "bootstrap.bundle.min.js"} <= present


def test_vendored_files_are_unchanged() -> None:
    """Each file has its checksum, and with the removed source-map line appended, that of the release."""
    for row in rows():
        content = (FOLDER / row["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["here"], row["file"]
        restored = content + (row["removed"] or "").encode()
        assert hashlib.sha256(restored).hexdigest() == row["released"], row["file"]
