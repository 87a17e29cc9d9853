"""A stream of bytes in a file that shows every change: checked piece by piece, and encrypted if there is a key.

The file is a header and pieces. Each piece carries what proves it, its number and whether it is the last one, so that
a changed byte, a piece taken out or put elsewhere and a cut-off end are all noticed. With a key the proof is
AES-256-GCM's own; without one it is a SHA-256, which notices accidents, not attackers.
"""

import base64
import hashlib
import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"HSBACKUP1\n"
PIECE = 1024 * 1024
PLAIN, ENCRYPTED = b"P", b"E"
KEY_BYTES = 32


class BadSealedFile(Exception):
    """The file is not whole, not ours, or not made with this key; the message says which."""


def read_key(text: str) -> bytes:
    """A key as `new_key` writes it.

    Raises `BadSealedFile` when it is not one.
    """
    try:
        key = base64.urlsafe_b64decode(text.strip().encode())
    except ValueError as error:
        raise BadSealedFile("The key is not one that `manage.py backup --make-key` wrote.") from error
    if len(key) != KEY_BYTES:
        raise BadSealedFile(f"The key must hold {KEY_BYTES} bytes; this one holds {len(key)}.")
    return key


def new_key() -> str:
    """A fresh random key, as text."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


class SealedWriter(io.RawIOBase):
    """Takes bytes like a file and writes them as pieces; whole only after `close`."""

    def __init__(self, file: BinaryIO, *, key: bytes | None) -> None:
        super().__init__()
        self._file = file
        self._prefix = os.urandom(8)
        self._cipher = None if key is None else AESGCM(key)
        self._waiting = bytearray()
        self._number = 0
        file.write(MAGIC + (PLAIN if key is None else ENCRYPTED) + self._prefix)

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes are all that ever comes
        self._waiting += data
        while len(self._waiting) > PIECE:
            self._piece(bytes(self._waiting[:PIECE]), is_last=False)
            del self._waiting[:PIECE]
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._piece(bytes(self._waiting), is_last=True)
            self._waiting.clear()
        super().close()

    def _piece(self, data: bytes, *, is_last: bool) -> None:
        place = _place(self._prefix, self._number, is_last=is_last)
        if self._cipher is None:
            sealed = data + hashlib.sha256(place + data).digest()
        else:
            sealed = self._cipher.encrypt(_nonce(self._prefix, self._number), data, place)
        self._file.write(struct.pack(">BI", is_last, len(sealed)) + sealed)
        self._number += 1


def sealed_pieces(file: BinaryIO, *, key: bytes | None) -> Iterator[bytes]:
    """The bytes that were written, each piece checked before it is given out.

    Raises `BadSealedFile`.
    """
    header = file.read(len(MAGIC) + 9)
    if header[: len(MAGIC)] != MAGIC or len(header) != len(MAGIC) + 9:
        raise BadSealedFile("This is no backup of this platform.")
    mode, prefix = header[len(MAGIC) : len(MAGIC) + 1], header[len(MAGIC) + 1 :]
    if mode not in (PLAIN, ENCRYPTED):
        raise BadSealedFile("This is no backup of this platform.")
    if mode == ENCRYPTED and key is None:
        raise BadSealedFile("The backup is encrypted. Give its key: --key-file, or BACKUP_KEY.")
    cipher = AESGCM(key) if mode == ENCRYPTED and key is not None else None
    number, is_last = 0, False
    while not is_last:
        head = file.read(5)
        if len(head) != 5:
            raise BadSealedFile(f"The backup is cut off after {number} pieces.")
        flag, length = struct.unpack(">BI", head)
        sealed = file.read(length) if length <= PIECE + 64 else b""
        is_last = flag == 1
        if len(sealed) != length or flag not in (0, 1):
            raise BadSealedFile(f"The backup is damaged or cut off at piece {number + 1}.")
        yield _opened(sealed, cipher, prefix, number, is_last=is_last)
        number += 1
    if file.read(1):
        raise BadSealedFile("Something was added to the end of the backup.")


def _opened(sealed: bytes, cipher: AESGCM | None, prefix: bytes, number: int, *, is_last: bool) -> bytes:
    place = _place(prefix, number, is_last=is_last)
    if cipher is None:
        data, digest = sealed[:-32], sealed[-32:]
        if hashlib.sha256(place + data).digest() != digest:
            raise BadSealedFile(f"The backup is damaged at piece {number + 1}.")
        return data
    try:
        return cipher.decrypt(_nonce(prefix, number), sealed, place)
    except InvalidTag as error:
        raise BadSealedFile(f"Piece {number + 1} does not open: another key, or a damaged backup.") from error


def _nonce(prefix: bytes, number: int) -> bytes:
    return prefix + struct.pack(">I", number)


def _place(prefix: bytes, number: int, *, is_last: bool) -> bytes:
    return MAGIC + prefix + struct.pack(">I?", number, is_last)
