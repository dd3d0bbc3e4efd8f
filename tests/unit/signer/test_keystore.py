"""The keystore file: what goes in comes out, and nothing else opens."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bitcoin.keys import PrivateKey
from signer.errors import KeyRefusedError, KeystoreError, PassphraseError
from signer.keyring import Purpose, SignerKey
from signer.keystore import add_key, change_passphrase, create_keystore, read_keystore
from signer.sealing import SealedFile, SealingKey

PASSPHRASE = "correct horse battery"
SCRYPT_N = 2**15

# One derivation takes about a tenth of a second.
slow_kdf = settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keystore.json"
    create_keystore(path, PASSPHRASE, scrypt_n=SCRYPT_N)
    return path


@pytest.fixture(scope="module")
def sealing_key() -> SealingKey:
    return SealingKey.derive(PASSPHRASE, n=SCRYPT_N)


def issuer_key(name: str = "issuer-1", byte: str = "11") -> SignerKey:
    return SignerKey(name, frozenset({Purpose.ISSUER}), PrivateKey.from_hex(byte * 32))


def test_new_keystore_is_private_and_empty(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_keystore(path, PASSPHRASE)) == 0


def test_umask_does_not_open_the_file(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        create_keystore(tmp_path / "deep" / "keystore.json", PASSPHRASE, scrypt_n=SCRYPT_N)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "deep" / "keystore.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700


def test_keys_come_back_in_order(path: Path) -> None:
    first = issuer_key()
    second = SignerKey(
        "pool:1/a", frozenset({Purpose.FUNDING, Purpose.ISSUER}), PrivateKey.generate()
    )
    add_key(path, PASSPHRASE, first)
    add_key(path, PASSPHRASE, second)
    assert list(read_keystore(path, PASSPHRASE)) == [first, second]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_shows_no_name_and_no_key(path: Path) -> None:
    key = SignerKey("issuer-1", frozenset({Purpose.ISSUER}), PrivateKey.generate())
    add_key(path, PASSPHRASE, key)
    raw = path.read_text()
    assert key.private_key.to_bytes().hex() not in raw
    assert "issuer" not in raw
    assert key.private_key.public_key.to_hex() not in raw


def test_header_names_the_algorithms(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document["version"] == 1
    assert document["cipher"]["name"] == "aes-256-gcm"
    kdf = document["kdf"]
    assert (kdf["name"], kdf["r"], kdf["p"], len(kdf["salt"])) == ("scrypt", 8, 1, 64)
    assert kdf["n"] >= 2**15


def test_every_write_takes_a_new_nonce(path: Path) -> None:
    before = SealedFile.from_bytes(path.read_bytes())
    add_key(path, PASSPHRASE, issuer_key())
    after = SealedFile.from_bytes(path.read_bytes())
    assert before.nonce != after.nonce
    assert before.salt == after.salt


def test_default_cost_is_at_least_the_agreed_one() -> None:
    assert SealingKey.derive("x").n >= 2**15


@slow_kdf
@given(plaintext=st.binary(max_size=300), passphrase=st.text(min_size=1, max_size=20))
def test_sealing_round_trips(plaintext: bytes, passphrase: str) -> None:
    try:
        passphrase.encode()
    except UnicodeEncodeError:
        return
    key = SealingKey.derive(passphrase, n=SCRYPT_N)
    sealed = SealedFile.from_bytes(key.seal(plaintext))
    again = SealingKey.derive(passphrase, n=sealed.n, salt=sealed.salt)
    assert again.open(sealed) == plaintext


def test_passphrase_does_not_depend_on_the_form_of_accents() -> None:
    sealed = SealedFile.from_bytes(SealingKey.derive("caf\u00e9 noir", n=SCRYPT_N).seal(b"x"))
    decomposed = SealingKey.derive("cafe\u0301 noir", n=sealed.n, salt=sealed.salt)
    assert decomposed.open(sealed) == b"x"


def test_any_flipped_byte_of_the_file_is_refused(path: Path) -> None:
    """Every position, one random-looking bit: parsed strictly, then authenticated."""
    add_key(path, PASSPHRASE, issuer_key())
    raw = path.read_bytes()
    key = SealingKey.derive(PASSPHRASE, n=SCRYPT_N, salt=SealedFile.from_bytes(raw).salt)
    accepted = []
    for position in range(len(raw)):
        for mask in (1, 0x20, 0x80):
            edited = bytearray(raw)
            edited[position] ^= mask
            try:
                sealed = SealedFile.from_bytes(bytes(edited))
                key.open(sealed)
            except (KeystoreError, PassphraseError):
                continue
            accepted.append((position, mask))
    assert accepted == []


@slow_kdf
@given(data=st.data())
def test_edited_file_is_refused_on_disk(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "edited.json"
    if not path.exists():
        create_keystore(path, PASSPHRASE, scrypt_n=SCRYPT_N)
    raw = path.read_bytes()
    position = data.draw(st.integers(0, len(raw) - 1))
    mask = data.draw(st.integers(1, 255))
    edited = bytearray(raw)
    edited[position] ^= mask
    try:
        path.write_bytes(bytes(edited))
        with pytest.raises((KeystoreError, PassphraseError)):
            read_keystore(path, PASSPHRASE)
    finally:
        path.write_bytes(raw)


def test_any_truncation_is_refused(path: Path) -> None:
    raw = path.read_bytes()
    for length in range(len(raw)):
        with pytest.raises(KeystoreError, match="damaged or truncated"):
            SealedFile.from_bytes(raw[:length])


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"kdf":{"n":true}}']
)
def test_other_files_are_refused(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    with pytest.raises(KeystoreError, match="damaged or truncated"):
        read_keystore(path, PASSPHRASE)


@pytest.mark.parametrize("n", [2**14, 2**15 + 1, 2**30, -1, 0])
def test_unreasonable_cost_is_refused_before_it_is_paid(sealing_key: SealingKey, n: int) -> None:
    sealed = SealedFile.from_bytes(sealing_key.seal(b"x"))
    with pytest.raises(KeystoreError):
        SealedFile.from_bytes(SealedFile(n, sealed.salt, sealed.nonce, b"x" * 17).to_bytes())


def test_wrong_passphrase_is_refused(path: Path) -> None:
    with pytest.raises(PassphraseError, match="passphrase is wrong"):
        read_keystore(path, PASSPHRASE + "!")


def test_another_passphrase_opens_the_same_keys(path: Path) -> None:
    add_key(path, PASSPHRASE, issuer_key())
    change_passphrase(path, PASSPHRASE, "another one")
    assert [key.identifier for key in read_keystore(path, "another one")] == ["issuer-1"]
    with pytest.raises(PassphraseError):
        read_keystore(path, PASSPHRASE)


def test_who_does_not_know_the_passphrase_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(PassphraseError):
        change_passphrase(path, PASSPHRASE + "!", "another one")
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_file_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeystoreError, match="chmod 600"):
        read_keystore(path, PASSPHRASE)


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="create one with init"):
        read_keystore(tmp_path / "none.json", PASSPHRASE)
    with pytest.raises(KeystoreError, match="create one with init"):
        add_key(tmp_path / "none.json", PASSPHRASE, issuer_key())
    with pytest.raises(KeystoreError, match="cannot be opened"):
        add_key(tmp_path / "none" / "none.json", PASSPHRASE, issuer_key())


def test_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="is no file"):
        read_keystore(tmp_path, PASSPHRASE)


def test_existing_file_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeystoreError, match="already exists"):
        create_keystore(path, "another passphrase", scrypt_n=SCRYPT_N)
    assert path.read_bytes() == before


def test_directory_that_cannot_be_made_is_one_sentence(path: Path) -> None:
    with pytest.raises(KeystoreError, match="cannot be created"):
        create_keystore(path / "below" / "keystore.json", PASSPHRASE, scrypt_n=SCRYPT_N)


def test_failed_write_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full_disk(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(KeystoreError, match="cannot be written: No space left on device"):
        add_key(path, PASSPHRASE, issuer_key())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_keys_added_at_once_are_all_kept(path: Path) -> None:
    names = [f"key-{number}" for number in range(4)]
    keys = [SignerKey(name, frozenset({Purpose.ISSUER}), PrivateKey.generate()) for name in names]
    threads = [threading.Thread(target=add_key, args=(path, PASSPHRASE, key)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.identifier for key in read_keystore(path, PASSPHRASE)) == names


def test_symbolic_link_stays_a_link(path: Path) -> None:
    link = path.parent / "link.json"
    link.symlink_to(path)
    add_key(link, PASSPHRASE, issuer_key())
    assert link.is_symlink()
    assert len(read_keystore(path, PASSPHRASE)) == 1


def test_clashing_key_is_refused_and_changes_nothing(path: Path) -> None:
    add_key(path, PASSPHRASE, issuer_key())
    before = path.read_bytes()
    with pytest.raises(KeyRefusedError, match="already has a key named issuer-1"):
        add_key(path, PASSPHRASE, issuer_key(byte="12"))
    with pytest.raises(KeyRefusedError, match="already in the keystore, named issuer-1"):
        add_key(path, PASSPHRASE, issuer_key(name="issuer-2"))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"{}",
        b'{"keys":[{"keyIdentifier":"a","purposes":["other"],"privateKeyHex":"' + b"11" * 32,
        b'{"keys":[{"keyIdentifier":"a","purposes":["issuer"],"privateKeyHex":"00"}]}',
    ],
)
def test_sealed_nonsense_is_refused(path: Path, sealing_key: SealingKey, content: bytes) -> None:
    path.write_bytes(sealing_key.seal(content))
    with pytest.raises(KeystoreError, match="damaged"):
        read_keystore(path, PASSPHRASE)


def test_derived_key_is_not_shown(sealing_key: SealingKey) -> None:
    assert repr(sealing_key) == f"SealingKey(n={SCRYPT_N})"
