"""The file that a dump is: rows as their bytes, what they are, and a checksum of all of it.

A gzip stream of BSON documents: a head, one for each row (`c` names its collection, `d` is the row)
and an end with how many there are and the SHA-256 of all bytes before. A file without its end, or
with another than it was written with, is none.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from app.errors import InvalidInputError

_FORMAT = "patchproof-dump"
_VERSION = 1
# A row has 16 MiB at most; what is wrapped around it is small.
_LARGEST = 17 * 1024 * 1024
_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True)
class DumpManifest:
    """What a dump is of. `is_snapshot` says that all of it is of one moment."""

    created_at: datetime
    database: str
    release: str
    is_snapshot: bool
    collections: tuple[str, ...]
    rows: Mapping[str, int]
    sha256: str


class DumpWriter:
    """Writes a dump, row by row."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._rows: Counter[str] = Counter()
        self._head: dict[str, Any] = {}

    def begin(self, **head: Any) -> None:
        """Writes what the dump is of."""
        self._head = {"format": _FORMAT, "version": _VERSION, **head}
        self._write(bson.encode(self._head))

    def put(self, collection: str, row: RawBSONDocument) -> None:
        self._rows[collection] += 1
        self._write(bson.encode({"c": collection, "d": row}))

    def end(self) -> DumpManifest:
        """Writes counts and checksum; without them the file is no dump."""
        tail = {"rows": dict(self._rows), "sha256": self._hash.hexdigest()}
        self._stream.write(bson.encode({"end": tail}))
        return _manifest(self._head, tail)

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._stream.write(data)


@contextmanager
def create(path: Path) -> Iterator[DumpWriter]:
    """A new dump, readable by its owner alone, that is at its place once it is whole or never.

    Raises:
        InvalidInputError: something is there already, or nothing can be written there.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        if path.exists():
            raise InvalidInputError(f"{path} exists; a dump is never written over another file")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidInputError(f"{path} can't be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as stream:
                yield DumpWriter(stream)
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _put_in_place(beside: Path, path: Path) -> None:
    try:
        # Unlike a renaming this never takes another file's place.
        os.link(beside, path)
    except FileExistsError:
        raise InvalidInputError(f"{path} has come to be meanwhile; nothing was written") from None
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def verify(path: Path) -> DumpManifest:
    """Reads a dump from end to end; answers what it is.

    Raises:
        InvalidInputError: it is none, it is damaged, or its end is missing.
    """
    digest = hashlib.sha256()
    rows: Counter[str] = Counter()
    head: dict[str, Any] = {}
    for data in _documents(path):
        if not head:
            head = _read_head(path, data)
        elif (tail := _find_end(path, data)) is not None:
            if tail["sha256"] != digest.hexdigest() or tail["rows"] != dict(rows):
                raise _damaged(path, "its checksum is another")
            return _manifest(head, tail)
        else:
            rows[_collection(path, data)] += 1
        digest.update(data)
    raise _damaged(path, "its end is missing")


def read(path: Path) -> Iterator[tuple[str, RawBSONDocument]]:
    """Yields the rows of a dump that was verified, each with its collection's name."""
    documents = _documents(path)
    next(documents)
    for data in documents:
        row = RawBSONDocument(data)
        if "d" not in row:
            return
        yield str(row["c"]), RawBSONDocument(row["d"].raw, _RAW)


def _documents(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file) as stream:
            while prefix := stream.read(4):
                length = int.from_bytes(prefix, "little")
                body = stream.read(length - 4) if 5 <= length <= _LARGEST else b""
                if len(prefix) < 4 or len(body) != length - 4:
                    raise _damaged(path, "it does not hold what it should")
                yield prefix + body
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise InvalidInputError(f"{path} can't be read: {error.strerror}") from error


def _read_head(path: Path, data: bytes) -> dict[str, Any]:
    try:
        head = bson.decode(data, _OPTIONS)
    except BSONError:
        head = {}
    if head.get("format") != _FORMAT:
        raise InvalidInputError(f"{path} is no dump of this service")
    if head.get("version") != _VERSION:
        raise InvalidInputError(f"{path} is of a newer form; restore it with a newer release")
    return head


def _find_end(path: Path, data: bytes) -> dict[str, Any] | None:
    try:
        row = RawBSONDocument(data)
        return bson.decode(data, _OPTIONS)["end"] if "end" in row else None
    except (BSONError, KeyError) as error:
        raise _damaged(path, str(error)) from error


def _collection(path: Path, data: bytes) -> str:
    try:
        return str(RawBSONDocument(data)["c"])
    except (BSONError, KeyError) as error:
        raise _damaged(path, str(error)) from error


def _manifest(head: Mapping[str, Any], tail: Mapping[str, Any]) -> DumpManifest:
    return DumpManifest(
        created_at=head["created_at"],
        database=head["database"],
        release=head["release"],
        is_snapshot=head["is_snapshot"],
        collections=tuple(head["collections"]),
        rows=dict(tail["rows"]),
        sha256=tail["sha256"],
    )


def _damaged(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError(f"{path} is damaged: {why}")
