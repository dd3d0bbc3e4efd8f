"""The database of an older system, which is read and never written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError

from app.clients.outcomes import ServiceUnavailableError, UnexpectedAnswerError

SERVICE = "the older database"
_BATCH = 500
_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    unicode_decode_error_handler="replace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)


class InvalidSourceError(ValueError):
    """The URI names no database."""


class OlderDatabase:
    """Reads whole collections. Errors name no credentials.

    Raises:
        InvalidSourceError: on making it, where the URI or the name can't be used.
        ServiceUnavailableError: on every call, where it does not answer.
    """

    def __init__(self, uri: str, name: str | None = None, *, timeout_ms: int = 5000) -> None:
        try:
            self._client: MongoClient[dict[str, Any]] = MongoClient(
                uri, serverSelectionTimeoutMS=timeout_ms, connect=False, appname="patchproof-import"
            )
            self._database = (
                self._client.get_database(name, codec_options=_OPTIONS)
                if name
                else self._client.get_default_database(codec_options=_OPTIONS)
            )
        except (InvalidURI, ConfigurationError, PyMongoError, ValueError) as error:
            raise InvalidSourceError(
                "is no URI of a database: mongodb://user:password@host:port/database"
            ) from error
        self.name = self._database.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    @property
    def address(self) -> tuple[set[tuple[str, int | None]], str]:
        """Where it is: hosts and name, to tell it from others."""
        return set(self._client.topology_description.server_descriptions()), self.name

    def count_rows(self) -> dict[str, int]:
        """Counts the rows of each collection, by its name."""
        try:
            names = self._database.list_collection_names()
            return {
                name: self._database[name].estimated_document_count()
                for name in sorted(names)
                if not name.startswith("system.")
            }
        except PyMongoError as error:
            raise _unavailable(error) from error

    def stream(
        self, collection: str, order: Sequence[str] = ("_id",)
    ) -> Iterator[Mapping[str, Any]]:
        """Yields the rows of a collection in an order of fields."""
        try:
            cursor = self._database[collection].find({}, batch_size=_BATCH)
            with cursor.sort([(name, 1) for name in order]).allow_disk_use(True) as rows:
                yield from rows
        except BSONError as error:
            raise UnexpectedAnswerError(SERVICE, f"a row of {collection} can't be read") from error
        except PyMongoError as error:
            raise _unavailable(error) from error


def _unavailable(error: PyMongoError) -> ServiceUnavailableError:
    return ServiceUnavailableError(SERVICE, type(error).__name__)
