"""Compiles the translations (`compile`) or says which are not compiled, not translated or doubtful (`check`).

A catalogue is any `locale/LANGUAGE/LC_MESSAGES/*.po` at the top or in a package.
"""

import sys
from pathlib import Path

import polib

ROOT = Path(__file__).resolve().parents[1]


def compile_all(catalogues: list[Path]) -> None:
    """Writes the .mo beside every .po."""
    for path in catalogues:
        polib.pofile(str(path)).save_as_mofile(str(path.with_suffix(".mo")))
        print(f"Compiled {path.relative_to(ROOT)}")


def problems(path: Path) -> list[str]:
    """What is wrong with one catalogue, a line each: nothing when every text is translated and compiled."""
    name = path.relative_to(ROOT)
    catalogue = polib.pofile(str(path))
    found = [f"{name}:{entry.linenum}: not translated: {entry.msgid!r}" for entry in catalogue.untranslated_entries()]
    found += [f"{name}:{entry.linenum}: marked fuzzy: {entry.msgid!r}" for entry in catalogue.fuzzy_entries()]
    compiled = path.with_suffix(".mo")
    if not compiled.exists() or _texts(polib.mofile(str(compiled))) != _texts(catalogue):
        found.append(f"{name}: the compiled file is missing or older. Run: make messages")
    return found


def _texts(catalogue: polib.POFile | polib.MOFile) -> dict[tuple[str | None, str], object]:
    return {
        (entry.msgctxt, entry.msgid): entry.msgstr_plural or entry.msgstr for entry in catalogue.translated_entries()
    }


def main() -> None:
    catalogues = sorted([*ROOT.glob("locale/*/LC_MESSAGES/*.po"), *ROOT.glob("*/locale/*/LC_MESSAGES/*.po")])
    if sys.argv[1:] == ["compile"]:
        compile_all(catalogues)
    elif sys.argv[1:] == ["check"]:
        found = [line for path in catalogues for line in problems(path)]
        if found:
            sys.exit("\n".join(found))
        print(f"Translations: {len(catalogues)} catalogues, all translated and compiled")
    else:
        sys.exit("Usage: python scripts/translations.py compile|check")


if __name__ == "__main__":
    main()
