"""Addresses of mail: one spelling for each, and nothing in one that a mail server could misread."""

from email.headerregistry import Address

from email_validator import EmailNotValidError, validate_email

MAX_LENGTH = 254


def normalise_email(text: str) -> str:
    """Return the one spelling under which an address is known: trimmed, lower case, ASCII.

    A domain of other letters becomes its `xn--` form. A local part of other letters is refused:
    many servers can't take it, and lower case would turn some of them into ASCII.

    Raises:
        ValueError: it is no address, or its domain has a single label.
    """
    return _check(text.strip()).addr_spec.lower()


def parse_sender(text: str) -> Address:
    """Return the address, with the name before it where it has one: `Shop <codes@shop.example>`.

    Raises:
        ValueError: it is no address.
    """
    return _check(text.strip(), allow_display_name=True)


def _check(text: str, *, allow_display_name: bool = False) -> Address:
    try:
        checked = validate_email(
            text,
            strict=True,
            # Whether somebody is there is for the mail server to find out, not for a request.
            check_deliverability=False,
            allow_smtputf8=False,
            allow_display_name=allow_display_name,
        )
    except EmailNotValidError:
        raise ValueError("must be an email address, such as name@shop.example") from None
    return Address(checked.display_name or "", checked.local_part, checked.ascii_domain)
