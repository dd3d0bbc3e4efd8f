"""The Python client through the real processes: all that it can do, and what its README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from devnet.supervisor.site import DIRECTORY_VARIABLE
from patchproof_client import (
    AuthenticationError,
    CodeError,
    ConflictError,
    IdempotencyError,
    LoginError,
    Network,
    OwnerKey,
    PatchProofClient,
    PermissionDeniedError,
    StillPendingError,
)
from tests.conftest import outside_settings
from tests.e2e.system import CONFIRM_SECONDS, System

CHECKOUT = Path(__file__).resolve().parents[2]
README = CHECKOUT / "clients" / "python" / "README.md"
MAIL_SECONDS = 60.0


@pytest.fixture
def device(system: System) -> Iterator[PatchProofClient]:
    """The client of somebody's phone: without an API key, and nobody yet."""
    with PatchProofClient(system.exports["BASE_URL"]) as client:
        yield client


def make_key() -> OwnerKey:
    return OwnerKey.generate(Network.REGTEST)


def make_user() -> str:
    return os.urandom(12).hex()


def test_readme_shows_what_happens(system: System) -> None:
    [example] = re.findall(r"<!-- example -->\n```python\n(.+?)```", README.read_text(), re.DOTALL)
    [product] = system.make_products(1)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd="/",
        env={
            "PATH": outside_settings()["PATH"],
            "TAG": product.uid_tag_id,
            **{name: system.exports[name] for name in ("BASE_URL", "API_KEY", "WOC_NETWORK")},
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "authentic owner True",
        "unlocked True",
        "['REGISTRATION', 'TRANSFER'] True",
        "409 patch_moved",
    ]


def test_customer_claims_at_the_till_and_hands_on(system: System, device: PatchProofClient) -> None:
    [product], shop, customer = system.make_products(1), system.make_owner(), make_key()
    uid = product.uid_tag_id
    head = system.register_confirmed(product, shop)

    claim = device.create_claim(uid, customer, make_user())
    assert device.get_claim(claim).status == "pending"
    with pytest.raises(PermissionDeniedError):
        system.client.approve_claim(claim, "Ada at till 3")
    approved = system.client.approve_claim_as_owner(
        claim,
        "Ada at till 3",
        uid_tag_id=uid,
        current_txid=head,
        owner=shop,
        customer_address=customer.address,
    )
    assert approved.id == claim
    txid = device.wait_for_claim(claim, timeout_seconds=CONFIRM_SECONDS)
    with pytest.raises(ConflictError):
        system.client.approve_claim(claim, "Ada at till 3")
    assert device.get_pending("transfer", approved.pending_id).txid == txid
    assert [event.owner for event in device.history(uid)] == [shop.address, customer.address]
    assert system.client.unlock(uid, customer).txid == txid


def test_claim_of_a_patch_that_moved_ends(system: System, device: PatchProofClient) -> None:
    [product], shop = system.make_products(1), system.make_owner()
    uid = product.uid_tag_id
    head = system.register_confirmed(product, shop)
    claim = device.create_claim(uid, make_key(), make_user())
    system.confirm(system.client.transfer(uid, head, shop, make_key().address))
    with pytest.raises(ConflictError):
        system.client.approve_claim(claim, "Ada")
    # It ends by itself when its time is over.
    with pytest.raises(StillPendingError):
        device.wait_for_claim(claim, timeout_seconds=0.5)


def test_login_keys_are_registered_rotated_and_let_go(device: PatchProofClient) -> None:
    user, old, new = make_user(), make_key(), make_key()
    device.register_login_key(user, old)
    with pytest.raises(LoginError) as taken:
        device.register_login_key(user, new)
    assert taken.value.code == "DUPLICATE_PMC"
    with pytest.raises(LoginError) as stranger:
        device.login(user, new)
    assert stranger.value.code == "SVD_INVALID_SIGNATURE"

    device.login(user, old)
    first = device.current_token()
    device.rotate_login_key(user, old, new)
    with pytest.raises(LoginError):
        device.login(user, old)
    device.login(user, new)
    assert device.current_token() != first

    ended = device.current_token()
    device.logout()
    device.use_token(ended)
    with pytest.raises(AuthenticationError) as refused:
        device.logout()
    assert refused.value.code == "token_revoked"


def test_somebody_has_their_data_and_has_it_erased(
    system: System, device: PatchProofClient
) -> None:
    [product], user, login_key, wallet = (
        system.make_products(1),
        make_user(),
        make_key(),
        make_key(),
    )
    system.register_confirmed(product, wallet)
    device.register_login_key(user, login_key)
    device.login(user, login_key)
    assert [page["records"] for page in device.export_pages()] == [[]]

    assert device.prove_key(user, wallet)["address"] == wallet.address

    [page] = device.export_pages()
    assert [record["uid_tag_id"] for record in page["records"]] == [product.uid_tag_id]
    told = device.delete_data()
    assert told["status"] == "waiting"
    [kept] = [each for each in told["remains"] if each["what"] == "present_owner"]
    assert kept["names"] == [product.uid_tag_id]
    # The old token tells how it stands, and no more.
    assert device.delete_data()["requestedAt"] == told["requestedAt"]
    with pytest.raises(LoginError):
        device.login(user, login_key)


def test_token_that_was_ended_elsewhere_is_renewed_where_that_is_allowed(
    system: System, device: PatchProofClient
) -> None:
    user, key = make_user(), make_key()
    device.register_login_key(user, key)
    device.login(user, key, renew=True)
    with PatchProofClient(system.exports["BASE_URL"]) as elsewhere:
        elsewhere.use_token(device.current_token())
        elsewhere.logout()
    [product], owner = system.make_products(1), system.make_owner()
    head = system.register_confirmed(product, owner)
    system.confirm(device.transfer(product.uid_tag_id, head, owner, make_key().address))


def test_code_of_a_mail_logs_in(system: System, device: PatchProofClient) -> None:
    email = f"ada-{make_user()}@example.org"
    device.request_code(email)
    code = _read_code(Path(system.exports[DIRECTORY_VARIABLE]) / "mail", email)
    wrong = "100000" if code != "100000" else "100001"
    with pytest.raises(CodeError):
        device.submit_code(email, wrong)
    device.submit_code(email, code)
    device.logout()


def test_registration_that_comes_again_is_the_same_one(system: System) -> None:
    [product, other], owner = system.make_products(2), system.make_owner()
    first = system.client.register(product.product, owner.address, idempotency_key="till-1/7")
    again = system.client.register(product.product, owner.address, idempotency_key="till-1/7")
    assert again.pending_id == first.pending_id
    assert (first.is_replayed, again.is_replayed) == (False, True)
    with pytest.raises(IdempotencyError) as reused:
        system.client.register(other.product, owner.address, idempotency_key="till-1/7")
    assert reused.value.code == "idempotency_key_reused"
    assert system.confirm(first) == system.confirm(again)


def _read_code(directory: Path, email: str) -> str:
    """Waits for the mail to an address and reads the code in it."""
    deadline = time.monotonic() + MAIL_SECONDS
    while time.monotonic() < deadline:
        for path in directory.glob("*.eml"):
            mail = message_from_bytes(path.read_bytes(), policy=policy.default)
            if email in str(mail["To"]):
                body = mail.get_body(("plain",))
                assert body is not None
                [code] = re.findall(r"\b\d{6}\b", body.get_content())
                return str(code)
        time.sleep(0.1)
    raise AssertionError("no mail came")
