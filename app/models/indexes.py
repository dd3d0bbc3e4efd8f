"""Compares the indexes that documents name with those that the database has. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What makes an index another one beside its fields.
_OPTIONS: Mapping[str, Any] = {"unique": False, "sparse": False, "expireAfterSeconds": None}


@dataclass(frozen=True)
class IndexComparison:
    """Indexes as `collection: fields and options`.

    `missing` ones are not there, `different` ones are there with other options, `extra` ones belong
    to somebody else or to another release.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    different: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether everything that the documents rest on is there; more is no harm."""
        return not self.missing and not self.different


def compare(documents: Iterable[type[Any]]) -> IndexComparison:
    """Compares every document's indexes with its collection's."""
    missing: list[str] = []
    extra: list[str] = []
    different: list[str] = []
    for document in documents:
        collection = document._get_collection()
        wanted = dict(map(_wanted, document._meta["index_specs"]))
        found = {
            _key(each["key"]): _options(each) for each in collection.index_information().values()
        }
        found.pop("_id", None)
        name = document._get_collection_name()
        missing += [f"{name}: {k}{_spell(wanted[k])}" for k in wanted.keys() - found.keys()]
        extra += [f"{name}: {k}{_spell(found[k])}" for k in found.keys() - wanted.keys()]
        different += [
            f"{name}: {k}, is{_spell(found[k])}, should be{_spell(wanted[k])}"
            for k in wanted.keys() & found.keys()
            if wanted[k] != found[k]
        ]
    return IndexComparison(*(tuple(sorted(each)) for each in (missing, extra, different)))


def _wanted(spec: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    return _key(spec["fields"]), _options(spec)


def _key(fields: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(name if order == 1 else f"{name} ({order})" for name, order in fields)


def _options(index: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: index.get(name, default) for name, default in _OPTIONS.items()}


def _spell(options: Mapping[str, Any]) -> str:
    words = [name for name in ("unique", "sparse") if options[name]]
    if options["expireAfterSeconds"] is not None:
        words.append(f"expires after {options['expireAfterSeconds']} s")
    return f" ({', '.join(words) or 'plain'})"
