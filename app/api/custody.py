"""Tells anyone where a patch has been."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer, iso_timestamp
from app.api.authentication import ANYONE
from app.api.limits import READING
from app.api.routing import route
from app.api.schemas.unlocking import UidPath
from app.api.schemas.verification import CustodyHistory
from app.services import history
from app.services.history import CustodyEvent

custody = APIBlueprint(
    "custody", __name__, url_prefix="/v1/patches", abp_tags=[Tag(name="Verification")]
)


@route(
    custody,
    "GET",
    "/<uid:uid_tag_id>/history",
    authentication=ANYONE,
    responses={200: CustodyHistory},
    errors=(400, 404, 503),
    limits=(READING,),
)
def list_custody(path: UidPath) -> Response:
    """List where a patch has been, oldest first

    One event for the registration and one for each transfer that the network has accepted.
    """
    events = history.list_custody(path.uid_tag_id)
    return answer({"uid_tag_id": path.uid_tag_id, "events": [_event(event) for event in events]})


def _event(event: CustodyEvent) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "txid": event.txid,
        "anchor_txid": event.anchor_txid,
        "owner": event.owner,
        "moved_by": event.moved_by,
        "erased": event.erased,
        "prev_txid": event.prev_txid,
        "occurred_at": iso_timestamp(event.occurred_at),
        "block_height": event.block_height,
        "confirmations": event.confirmations,
    }
