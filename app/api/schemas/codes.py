"""Login by a code that is mailed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.api.schemas.errors import ErrorBody
from app.domain.emails import MAX_LENGTH, normalise_email

# The contract's clients send what they like beside what is asked for.
_LENIENT = ConfigDict(extra="ignore", strict=True, frozen=True)

Identifier = Annotated[
    str,
    # With room for spaces around it.
    StringConstraints(min_length=1, max_length=2 * MAX_LENGTH),
    AfterValidator(normalise_email),
    Field(
        description="Email address; case and spaces around it do not matter",
        json_schema_extra={"format": "email"},
    ),
]


class CodeRequestBody(BaseModel):
    model_config = _LENIENT

    identifier: Identifier


class CodeSubmitBody(BaseModel):
    model_config = _LENIENT

    identifier: Identifier
    code: Annotated[str, StringConstraints(pattern="^[0-9]{6}$")] = Field(
        description="The six digits of the mail"
    )


class CodeRequestedAnswer(BaseModel):
    """The same for every address."""

    success: Literal[True]
    message: str


class CodeTokenAnswer(BaseModel):
    """A bearer token, good for a day."""

    success: Literal[True]
    token: str


class CodeFailure(ErrorBody):
    """A failure; `success` is there for clients that look for it."""

    success: Literal[False]


class CodeRefusal(CodeFailure):
    """The code logs nobody in."""

    reason: Literal["NotFoundOrExpired", "InvalidCode"]
