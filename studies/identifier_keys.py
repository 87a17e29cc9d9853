"""Keys of the direct identifiers: kept outside the database, each a pair, one to seal with and one to look up by.

A ring of keys is a text: one key a line, `ID SEALING INDEX` (an id and two times 32 random bytes), the newest first.
What is stored names the key that it was sealed under, so that several can be in use while they are changed. The second
key of a pair makes the blind index: a keyed hash of what was typed, which finds an exact value without telling it.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES, NONCE_BYTES = 32, 12
#: What is sealed is filled up to a multiple of this, so that its length does not tell a short name from a long one.
PADDED_TO = 256


class BadKeys(Exception):
    """The keys cannot be read or used; the message says where and what to do, and holds no key."""


class CannotOpen(Exception):
    """No key at hand opens this: it was sealed under one that is not configured any more, or it was changed."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IdentifierKey:
    """One pair of keys under its id."""

    id: str
    sealing: bytes
    index: bytes

    def line(self) -> str:
        """As it stands in a ring's text."""
        return f"{self.id} {_written(self.sealing)} {_written(self.index)}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KeyRing:
    """Every key in use; the first one seals."""

    keys: tuple[IdentifierKey, ...]

    @property
    def newest(self) -> IdentifierKey:
        return self.keys[0]

    def seal(self, text: str, *, place: str) -> tuple[str, bytes]:
        """(key id, box) under the newest key. A box that is put elsewhere than at `place` does not open."""
        content = text.encode()
        padded = content + b"\0" * (-len(content) % PADDED_TO)
        nonce = os.urandom(NONCE_BYTES)
        key = self.newest
        return key.id, nonce + AESGCM(key.sealing).encrypt(nonce, padded, _bound(key.id, place))

    def open(self, key_id: str, box: bytes, *, place: str) -> str:
        """The text again.

        Raises `CannotOpen`.
        """
        key = next((key for key in self.keys if key.id == key_id), None)
        if key is None:
            raise CannotOpen(f"Identifiers are sealed under key {key_id}, which is not among the configured keys.")
        try:
            padded = AESGCM(key.sealing).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], _bound(key_id, place))
        except InvalidTag as error:
            raise CannotOpen(f"Identifiers sealed under key {key_id} do not open: they were changed.") from error
        return padded.rstrip(b"\0").decode()

    def index(self, field: str, value: str, *, scope: str, key: IdentifierKey | None = None) -> str:
        """The blind index of a value under a key (the newest); blank for a value that is blank when normalised.

        `scope` keeps the indexes of one study from those of another: the same person has different ones.
        """
        plain = NORMALISED[field](value)
        if not plain:
            return ""
        message = f"{scope}\n{field}\n{plain}".encode()
        return hmac.new((key or self.newest).index, message, hashlib.sha256).hexdigest()

    def indexes(self, field: str, value: str, *, scope: str) -> list[str]:
        """The blind index of a value under each key; empty for a blank value."""
        found = [self.index(field, value, scope=scope, key=key) for key in self.keys]
        return [index for index in found if index]


# --- what counts as the same ---


def normal_name(value: str) -> str:
    """Without case, accents and marks, words one space apart.

    >>> normal_name("  José  O'Neill-Pérez ")
    'jose oneill perez'
    """
    letters = unicodedata.normalize("NFKD", value).casefold()
    words = "".join(
        " " if letter == "-" or letter.isspace() else letter if letter.isalnum() else "" for letter in letters
    )
    return " ".join(words.split())


def normal_email(value: str) -> str:
    """Without case and surrounding space."""
    return unicodedata.normalize("NFKC", value).strip().casefold()


def normal_record_number(value: str) -> str:
    """Letters and digits alone; leading zeros count.

    >>> normal_record_number("00-417 / b")
    '00417b'
    """
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", value)).casefold()


NORMALISED = {"name": normal_name, "email": normal_email, "record_number": normal_record_number}


# --- rings ---


def new_key() -> IdentifierKey:
    """A fresh random pair under a random id."""
    return IdentifierKey(id=secrets.token_hex(4), sealing=os.urandom(KEY_BYTES), index=os.urandom(KEY_BYTES))


def read_ring(text: str, *, source: str) -> KeyRing:
    """The keys in a text, one a line or separated by commas.

    Raises `BadKeys`.
    """
    keys: list[IdentifierKey] = []
    for number, line in enumerate(text.replace(",", "\n").splitlines(), start=1):
        if not (words := line.split()):
            continue
        pairs = [_read(word) for word in words[1:]]
        if len(pairs) != 2 or None in pairs or not re.fullmatch(r"[A-Za-z0-9]{1,16}", words[0]):
            raise BadKeys(f"{source}, line {number}: not a key as `rotate_identifier_keys --make-key` writes it.")
        if words[0] in {key.id for key in keys}:
            raise BadKeys(f"{source}, line {number}: a key with this id stands there already.")
        keys.append(IdentifierKey(id=words[0], sealing=pairs[0] or b"", index=pairs[1] or b""))
    if not keys:
        raise BadKeys(f"{source}: holds no key. Make one: manage.py rotate_identifier_keys --make-key.")
    return KeyRing(keys=tuple(keys))


def ring_of(*, text: str, file: Path | None) -> KeyRing:
    """The configured keys: those in the text, else those in the file, read again whenever it changes.

    Raises `BadKeys`, also when neither is configured.
    """
    if text:
        return read_ring(text, source="IDENTIFIER_KEYS")
    if file is None:
        raise BadKeys("No keys for identifiers are configured: set IDENTIFIER_KEY_FILE or IDENTIFIER_KEYS.")
    try:
        written = file.stat()
    except OSError as error:
        raise BadKeys(f"{file}: the keys of the identifiers cannot be read ({type(error).__name__}).") from error
    return _ring_in(file, written.st_mtime_ns, written.st_ino)


@lru_cache(maxsize=4)
def _ring_in(file: Path, modified: int, inode: int) -> KeyRing:
    try:
        return read_ring(file.read_text(encoding="utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadKeys(f"{file}: the keys of the identifiers cannot be read ({type(error).__name__}).") from error


def write_ring(file: Path, ring: KeyRing) -> None:
    """Put the ring in the file's place, whole, for its owner's eyes only, on the disk when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write("".join(key.line() + "\n" for key in ring.keys))
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def keys_in_use(counts: Mapping[str, int], ring: KeyRing) -> list[str]:
    """The older keys of the ring under which something is still sealed."""
    return [key.id for key in ring.keys[1:] if counts.get(key.id)]


def _bound(key_id: str, place: str) -> bytes:
    return f"{key_id}\n{place}".encode()


def _written(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


def _read(word: str) -> bytes | None:
    try:
        key = base64.urlsafe_b64decode(word.encode())
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None
