"""The interface's own texts on a patient's pages, the items apart, are easy to read: a control shows what is not.

English: Flesch-Kincaid grade, 0.39 words/sentence + 11.8 syllables/word - 15.59 (Kincaid et al. 1975). Syllables are
groups of vowels, less a silent final e. Spanish: Fernández-Huerta (1959) with words a sentence as corrected by Law
(2011), 206.84 - 60 syllables/word - 1.02 words/sentence. Syllables are its vowel groups, where two strong or accented
vowels part. Labels of one or two words are left out: they are no sentences.
"""

import re
from collections.abc import Callable

import polib
import pytest
from django.conf import settings

_FILES = [
    *sorted((settings.BASE_DIR / "templates" / "questionnaire").glob("*.html")),
    *(settings.BASE_DIR / "instruments" / name for name in ("bundle.py", "page_texts.py")),
]
_CATALOGUE = settings.BASE_DIR / "instruments" / "locale" / "es" / "LC_MESSAGES" / "django.po"


def shown_texts() -> list[polib.POEntry]:
    """The catalogue's entries whose words stand in a questionnaire's templates or scripts' texts."""
    places = "".join(path.read_text(encoding="utf-8") for path in _FILES if path.name != "block.html")
    placeless = re.sub(r"\{\{ ?(\w+) ?\}\}", r"%(\1)s", places)
    return [entry for entry in polib.pofile(str(_CATALOGUE)) if entry.msgid in placeless]


def english_syllables(word: str) -> int:
    letters = re.sub(r"[^a-z]", "", word.lower())
    if len(letters) > 3 and not letters.endswith("le"):
        letters = re.sub(r"([^laeiouy]es|[^aeiouydt]ed|[^laeiouy]e)$", "", letters)
    return max(1, len(re.findall(r"[aeiouy]{1,2}", letters)))


def spanish_syllables(word: str) -> int:
    silent_u_gone = re.sub(r"(?<=q)u|(?<=g)u(?=[eiéí])", "", word.lower())
    groups = re.findall(r"[aeiouáéíóúü]+", silent_u_gone)
    return max(1, sum(max(1, len(re.findall(r"[aeoáéíóú]", group))) for group in groups))


def means(texts: list[str], syllables: Callable[[str], int]) -> tuple[float, float]:
    """Words a sentence and syllables a word."""
    n_sentences = n_words = n_syllables = 0
    for text in texts:
        plain = re.sub(r"%\(\w+\)[sd]|\{\w+\}", "5", text)
        words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", plain)
        if len(words) < 3:
            continue
        n_sentences += sum(bool(re.search(r"\w", one)) for one in re.split(r"[.!?:;…]+\s*", plain))
        n_words += len(words)
        n_syllables += sum(map(syllables, words))
    return n_words / n_sentences, n_syllables / n_words


def grade(texts: list[str]) -> float:
    """Flesch-Kincaid: years of school."""
    per_sentence, per_word = means(texts, english_syllables)
    return 0.39 * per_sentence + 11.8 * per_word - 15.59


def ease(texts: list[str]) -> float:
    """Fernández-Huerta: 80 to 90 is easy."""
    per_sentence, per_word = means(texts, spanish_syllables)
    return 206.84 - 60 * per_word - 1.02 * per_sentence


def test_the_interface_is_easy_to_read_in_both_languages() -> None:
    """English at most grade 5, Spanish at least 80, and every text is there in both."""
    entries = shown_texts()
    assert len(entries) > 60
    assert [entry.msgid for entry in entries if not (entry.msgstr or all(entry.msgstr_plural.values()))] == []
    english = grade([entry.msgid for entry in entries])
    spanish = ease([entry.msgstr for entry in entries])
    print(f"{len(entries)} texts: grade {english:.1f}, Fernández-Huerta {spanish:.0f}")
    assert english <= 5
    assert spanish >= 80


def test_hard_texts_are_told() -> None:
    """The control: the language of a consent form as lawyers write it is far off both bars."""
    hard = "Participation is entirely voluntary, and confidentiality is guaranteed in accordance with regulations."
    duro = (
        "La participación es enteramente voluntaria, y la confidencialidad está garantizada por la normativa aplicable."
    )
    assert grade([hard]) > 12
    assert ease([duro]) < 50


@pytest.mark.parametrize(
    ("count", "word", "expected"),
    [
        (english_syllables, "answer", 2), (english_syllables, "survey", 2), (english_syllables, "true", 1),
        (english_syllables, "little", 2), (english_syllables, "tablet", 2), (english_syllables, "saved", 1),
        (spanish_syllables, "respuesta", 3), (spanish_syllables, "todavía", 4), (spanish_syllables, "siguiente", 3),
        (spanish_syllables, "quiere", 2), (spanish_syllables, "envían", 3), (spanish_syllables, "leer", 2),
    ],
)  # fmt: skip
def test_syllables(count: Callable[[str], int], word: str, expected: int) -> None:
    """Words whose syllables anybody can count."""
    assert count(word) == expected
