"""An empty world, and the services in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.api.caller import Caller
from tests.integration.mail.lab import CALM, MailLab
from tests.integration.mail.servers import Postbox, smtp_server


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[MailLab]:
    """The services with the devnet's mail sink."""
    opened = MailLab(clean_devnet)
    opened.configure()
    if extensions.missing_indexes():
        extensions.ensure_indexes()
    yield opened
    opened.close()


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def own_server(lab: MailLab, postbox: Postbox) -> Iterator[None]:
    """A mail server in this process instead of the sink, which does what its postbox is told."""
    with smtp_server(postbox) as port:
        lab.configure(SMTP_PORT=str(port))
        yield


@pytest.fixture
def caller(clean_devnet: Devnet) -> Iterator[Caller]:
    """A client of the application in synchronous mode; `start` changes settings."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    made = Caller(MailLab(clean_devnet))
    made.start(**CALM)
    if extensions.missing_indexes():
        extensions.ensure_indexes()
    yield made
    made.lab.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def mail_lab(caller: Caller) -> MailLab:
    """The world of the caller."""
    assert isinstance(caller.lab, MailLab)
    return caller.lab
