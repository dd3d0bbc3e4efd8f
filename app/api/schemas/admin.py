"""What the operator asks and reads over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from app.api.schemas.errors import ErrorBody
from app.api.schemas.fields import STRICT, optional
from app.services.batches import DEFAULT_RECORDS, MAX_RECORDS


class OutputLevel(TypedDict):
    """Outputs in one state and what they hold."""

    count: int
    totalSatoshis: int


class PoolByStatus(TypedDict):
    """The pool's outputs by state."""

    unconfirmed: OutputLevel
    available: OutputLevel
    locked: OutputLevel
    spent: OutputLevel


class Funding(TypedDict):
    """What pays for transactions, as the service is configured now."""

    address: str
    network: str
    minConfirmations: int


class ChainSide(TypedDict):
    """What the chain lists at the funding address."""

    totalUtxos: int
    totalSatoshis: int
    confirmedUtxos: int
    confirmedSatoshis: int
    height: int


class ChainAway(TypedDict):
    """The chain service did not answer."""

    error: str


class Fuel(TypedDict):
    """How far the pool reaches; `hoursLeft` follows the last hour and is null without any use."""

    usefulUtxos: int
    lowMark: int
    satoshisPerKilobyte: int
    satoshisPerRegistration: int
    registrationsLeft: int
    registrationsLastHour: int
    hoursLeft: float | None
    waitingRecords: int
    oldestWaitingSeconds: float | None
    oldestWaitingReason: str | None
    warnings: list[str]


class PoolHealthAnswer(BaseModel):
    db: PoolByStatus
    funding: Funding
    chain: ChainSide | ChainAway | None
    fuel: Fuel


class MaintenanceBody(BaseModel):
    model_config = STRICT

    action: Literal["auto", "sync", "sweep", "split"] = Field(
        "auto", description="One step, or all three in the order sync, sweep, split"
    )


class SyncStep(TypedDict):
    """Outputs that were added, found spent, and confirmed."""

    added: int
    spent: int
    confirmed: int


class ReshapeStep(TypedDict):
    """What a sweep or split did: `success`, or `skipped` with a `reason`.

    `txids` are all of its transactions, `txid` is the first.
    """

    success: NotRequired[bool]
    skipped: NotRequired[bool]
    reason: NotRequired[str]
    error: NotRequired[str]
    txid: NotRequired[str]
    txids: NotRequired[list[str]]
    inputs: NotRequired[int]
    outputs: NotRequired[int]
    count: NotRequired[int]
    poolCount: NotRequired[int]
    required: NotRequired[int]


class MaintenanceResult(TypedDict):
    """The steps that were asked for."""

    sync: NotRequired[SyncStep]
    sweep: NotRequired[ReshapeStep]
    split: NotRequired[ReshapeStep]


class MaintenanceAnswer(BaseModel):
    success: Literal[True]
    action: str
    result: MaintenanceResult


BatchLimit = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_RECORDS,
        description=f"At most so many records; {DEFAULT_RECORDS} where it is left out",
    ),
]


class BatchBody(BaseModel):
    model_config = STRICT

    limit: BatchLimit = optional()


class BatchQuery(BaseModel):
    """The same for clients that put it into the query."""

    limit: BatchLimit = optional()


class BatchAnswer(BaseModel):
    """`txid` carries `processed` records, `updated` of which are confirmed by now.

    With nothing to do there is a `message` instead of a `txid`.
    """

    success: Literal[True]
    processed: int
    txid: str = optional()
    updated: int = optional()
    message: str = optional()


class AdminFailure(ErrorBody):
    """A failure; `success` is there for clients that look for it."""

    success: Literal[False]


class ViolationItem(TypedDict):
    """What is wrong with `count` things; `ids` are the first of them."""

    rule: str
    detail: str
    count: int
    ids: list[str]


class InvariantsAnswer(BaseModel):
    """`ok` only when every rule was checked and holds; `notChecked` gives the reason by rule.

    `notices` are sentences about what is worth knowing and not wrong.
    """

    ok: bool
    checked: list[str]
    not_checked: dict[str, Any] = Field(alias="notChecked")
    violations: list[ViolationItem]
    notices: list[str]
