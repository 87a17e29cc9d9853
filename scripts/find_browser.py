"""Finds the browser that the journeys drive, or installs one, and notes its path in `browser-path` of the environment.

In this order: the CHROMIUM variable; an installed Chrome or Chromium; Playwright's own; Debian's package when root.
`tests/conftest.py` reads the note.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NOTE = Path(sys.prefix) / "browser-path"
INSTALLED = (
    "google-chrome",
    "google-chrome-stable",
    "chromium",
    "chromium-browser",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
PLAYWRIGHTS_PATH = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


def runs(path: str) -> bool:
    """Whether this program starts: a wrapper without its browser (Ubuntu's snap stub) is found out here."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def installed() -> Iterator[str]:
    for name in INSTALLED:
        path = shutil.which(name)
        if path is not None:
            yield path


def playwrights_own() -> str | None:
    """Playwright's Chromium, fetched when it isn't there yet; None where it can't be fetched."""
    for may_fetch in (True, False):
        asked = subprocess.run([sys.executable, "-c", PLAYWRIGHTS_PATH], capture_output=True, text=True, check=False)
        path = asked.stdout.strip()
        if path and runs(path):
            return path
        if may_fetch:
            _try([sys.executable, "-m", "playwright", "install", "chromium"], seconds=300)
    return None


def debians_package() -> str | None:
    """Debian's Chromium, installed when this is root on Debian; None elsewhere or when that fails."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    if _try(["apt-get", "update", "-qq"], seconds=300):
        _try(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], seconds=900)
    return shutil.which("chromium")


def _try(command: list[str], *, seconds: int) -> bool:
    print(f"Trying: {' '.join(command)}", file=sys.stderr)
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, timeout=seconds, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find() -> str:
    """The path of a browser that starts; exits with one line when there is none and none can be installed."""
    wanted = os.environ.get("CHROMIUM")
    if wanted:
        path = shutil.which(wanted)
        if path is None or not runs(path):
            sys.exit(f"CHROMIUM names no browser that starts: {wanted!r}. Set it to the path of Chrome or Chromium.")
        return path
    for path in installed():
        if runs(path):
            return path
    for provide in (playwrights_own, debians_package):
        path = provide()
        if path is not None and runs(path):
            return path
    sys.exit("No browser for the tests: install Chrome or Chromium, or set CHROMIUM to the path of one.")


def main() -> None:
    path = find()
    NOTE.write_text(f"{path}\n")
    print(f"Browser for the tests: {path}")


if __name__ == "__main__":
    main()
