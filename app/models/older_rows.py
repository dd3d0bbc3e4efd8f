"""Stores rows of an older system where nothing of ours is in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from app.domain.clock import utc_now
from app.models.setting import Setting
from app.models.svd_key import SvdKey

_DUPLICATE_KEY = 11000


def insert_login_keys(keys: Sequence[SvdKey]) -> set[str]:
    """Stores first keys of users; answers whose were stored, others have a user or a key twice."""
    if not keys:
        return set()
    users = [key.user_id for key in keys]
    try:
        SvdKey._get_collection().insert_many([key.to_mongo() for key in keys], ordered=False)
    except BulkWriteError as error:
        problems = (error.details or {}).get("writeErrors", [])
        if any(problem["code"] != _DUPLICATE_KEY for problem in problems):
            raise
        taken = {problem["index"] for problem in problems}
        return {user for index, user in enumerate(users) if index not in taken}
    return set(users)


def insert_settings(values: Mapping[str, int]) -> None:
    """Sets what is not set."""
    operations = [
        UpdateOne(
            {"key": key},
            {"$setOnInsert": {"value": value, "updated_at": utc_now()}},
            upsert=True,
        )
        for key, value in values.items()
    ]
    if operations:
        Setting._get_collection().bulk_write(operations, ordered=False)
