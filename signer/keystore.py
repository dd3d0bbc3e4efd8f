"""The keystore file: read safely, written atomically, changed by one process at a time."""

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.bitcoin.errors import BitcoinFormatError
from signer.errors import KeyRefusedError, KeystoreError
from signer.keyring import KeyRing, SignerKey
from signer.sealing import DAMAGED, DEFAULT_SCRYPT_N, SealedFile, SealingKey

MAX_FILE_BYTES = 4 * 1024 * 1024


def create_keystore(path: Path, passphrase: str, *, scrypt_n: int = DEFAULT_SCRYPT_N) -> None:
    """Write an empty keystore; KeystoreError when something is already at that path."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable("created", path, error) from None
    with _exclusive(path):
        if os.path.lexists(path):
            raise KeystoreError(f"{path} already exists: it is left as it is.")
        _write(path, SealingKey.derive(passphrase, n=scrypt_n).seal(_to_plaintext(KeyRing())))


def read_keystore(path: Path, passphrase: str) -> KeyRing:
    """Decrypt the keystore.

    Raises KeystoreError (missing, readable by others, damaged) or PassphraseError.
    """
    return _open(path, passphrase)[0]


def add_key(path: Path, passphrase: str, key: SignerKey) -> None:
    """Add one key; KeyRefusedError when its name or its secret is already there."""
    with _exclusive(path):
        keyring, sealing_key = _open(path, passphrase)
        _write(path, sealing_key.seal(_to_plaintext(keyring.with_key(key))))


def change_passphrase(path: Path, passphrase: str, new_passphrase: str) -> None:
    """Seal the keystore anew, at the cost that it has; PassphraseError leaves it as it is."""
    with _exclusive(path):
        keyring, sealing_key = _open(path, passphrase)
        sealing_key = SealingKey.derive(new_passphrase, n=sealing_key.n)
        _write(path, sealing_key.seal(_to_plaintext(keyring)))


def _open(path: Path, passphrase: str) -> tuple[KeyRing, SealingKey]:
    sealed = SealedFile.from_bytes(_read(path))
    sealing_key = SealingKey.derive(passphrase, n=sealed.n, salt=sealed.salt)
    return _from_plaintext(sealing_key.open(sealed)), sealing_key


def _to_plaintext(keyring: KeyRing) -> bytes:
    return json.dumps({"keys": [key.to_json() for key in keyring]}).encode()


def _from_plaintext(plaintext: bytes) -> KeyRing:
    try:
        return KeyRing(SignerKey.from_json(entry) for entry in json.loads(plaintext)["keys"])
    except (KeyError, TypeError, ValueError, BitcoinFormatError, KeyRefusedError):
        raise KeystoreError(DAMAGED) from None


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        # A pipe may never say anything.
        raise KeystoreError(f"{path} is no file: SIGNER_KEYSTORE names the keystore.")
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o077:
                raise KeystoreError(
                    f"{path} can be reached by other users (mode {mode:o}): run chmod 600 on it."
                )
            if status.st_size > MAX_FILE_BYTES:
                raise KeystoreError(DAMAGED)
            return file.read()
    except FileNotFoundError:
        raise KeystoreError(f"There is no keystore at {path}: create one with init.") from None
    except OSError as error:
        raise _unusable("read", path, error) from None


def _write(path: Path, content: bytes) -> None:
    target = path.resolve()
    try:
        # mkstemp gives mode 0600 whatever the umask.
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(target.parent)
    except OSError as error:
        raise _unusable("written", path, error) from None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Lock the directory: the file itself is replaced by every write."""
    try:
        descriptor = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError as error:
        raise _unusable("opened", path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unusable(verb: str, path: Path, error: OSError) -> KeystoreError:
    return KeystoreError(f"{path} cannot be {verb}: {error.strerror}.")
