"""What every document keeps to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mongoengine import EmbeddedDocument
from mongoengine.fields import EmbeddedDocumentField, ListField

from app.extensions import DOCUMENTS


def parts_of(document: type[Any]) -> Iterator[type[EmbeddedDocument]]:
    """The embedded documents of a document, at every depth."""
    for field in document._fields.values():
        inner = field.field if isinstance(field, ListField) else field
        if isinstance(inner, EmbeddedDocumentField):
            yield inner.document_type
            yield from parts_of(inner.document_type)


ALL = sorted(
    {*DOCUMENTS, *(part for document in DOCUMENTS for part in parts_of(document))},
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("document", ALL, ids=lambda each: each.__name__)
def test_a_field_of_another_release_is_left_alone(document: type[Any]) -> None:
    read = document._from_son({"of_another_release": 1})

    assert isinstance(read, document)


def test_parts_are_among_them() -> None:
    assert any(issubclass(each, EmbeddedDocument) for each in ALL)
