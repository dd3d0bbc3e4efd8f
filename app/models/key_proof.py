"""A key of which somebody has shown that it is theirs, so that its data is theirs as well."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from mongoengine import DateTimeField, NotUniqueError, StringField

from app.domain.clock import utc_now
from app.models.base import StoredDocument


class KeyProof(StoredDocument):
    """A subject's signature by a key. Its `_id` is `<digest of the subject>:<public key>`."""

    proof_id = StringField(primary_key=True)
    subject_digest = StringField(required=True)
    public_key_hex = StringField(required=True)
    # The subject as it was signed, and the signature: what anyone can check.
    subject = StringField(required=True)
    signature = StringField(required=True)
    proven_at = DateTimeField(default=utc_now)

    meta: ClassVar[dict[str, Any]] = {
        "collection": "key_proofs",
        "indexes": ["subject_digest"],
        "auto_create_index": False,
    }

    @classmethod
    def put(
        cls, subject_digest: str, public_key_hex: str, *, subject: str, signature: str
    ) -> KeyProof:
        """Stores a proof, unless the same key's is there. Answers what is stored."""
        proof_id = f"{subject_digest}:{public_key_hex}"
        new = cls(
            proof_id=proof_id,
            subject_digest=subject_digest,
            public_key_hex=public_key_hex,
            subject=subject,
            signature=signature,
        )
        try:
            new.save(force_insert=True)
        except NotUniqueError:
            found: KeyProof | None = cls.objects(proof_id=proof_id).first()
            return found or new
        return new

    @classmethod
    def list_of(cls, subject_digest: str) -> list[KeyProof]:
        """Lists a subject's proofs, the oldest first."""
        return list(cls.objects(subject_digest=subject_digest).order_by("proven_at"))

    @classmethod
    def forget(cls, subject_digest: str, keys: Sequence[str], proven_before: datetime) -> int:
        """Deletes proofs of a subject that are not newer than a moment."""
        mine = cls.objects(
            subject_digest=subject_digest,
            public_key_hex__in=list(keys),
            proven_at__lte=proven_before,
        )
        return int(mine.delete()) if keys else 0
