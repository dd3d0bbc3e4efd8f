"""What of an imported record has to be known to check it: how an older system signed it."""

from __future__ import annotations

from mongoengine import BooleanField, LongField, StringField

from app.domain.older_records import OlderForm
from app.models.base import StoredPart


class OlderField(StoredPart):
    """Set by the import alone, and looked at only where the transaction is an imported one.

    A record that failed there, or never reached the chain, has no more than `status` and `txid`,
    which say what the older system took it for.
    """

    status = StringField(required=True)
    txid = StringField()
    metadata_json = StringField()
    endorsed_ts = LongField()
    is_reversed = BooleanField(default=False)
    is_word_reversed = BooleanField(default=False)

    @property
    def form(self) -> OlderForm:
        """The same for checks; where parts are missing nothing holds."""
        return OlderForm(
            metadata_json=self.metadata_json or "",
            endorsed_ts=self.endorsed_ts or 0,
            is_reversed=bool(self.is_reversed),
            is_word_reversed=bool(self.is_word_reversed),
        )
