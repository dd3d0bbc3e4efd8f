"""What can go wrong, as sentences for an operator or a caller."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the commands; 0 is success and 2 is click's code for wrong usage."""

    CONFIGURATION = 3
    KEYSTORE = 4
    PASSPHRASE = 5
    KEY = 6
    LISTEN = 7
    INSTALLATION = 8


class SignerError(Exception):
    """A command cannot go on; the message is one sentence for the operator, without secrets."""

    exit_code = ExitCode.CONFIGURATION


class InstallationError(SignerError):
    """The code that signs is not what it must be."""

    exit_code = ExitCode.INSTALLATION


class ConfigurationError(SignerError):
    """A setting is missing or unusable."""


class KeystoreError(SignerError):
    """The keystore file is missing, damaged, unsafe or in the way."""

    exit_code = ExitCode.KEYSTORE


class PassphraseError(SignerError):
    """The passphrase does not open the keystore, or the file has been edited."""

    exit_code = ExitCode.PASSPHRASE


class KeyRefusedError(SignerError):
    """A key cannot be added: its name, its purposes or its bytes are not acceptable."""

    exit_code = ExitCode.KEY


class ListenError(SignerError):
    """The address cannot be listened on."""

    exit_code = ExitCode.LISTEN


class RequestRefusedError(Exception):
    """A request is refused as a whole; nothing has been signed or derived."""

    status = 400
    code = "invalid_request"


class PurposeRefusedError(RequestRefusedError):
    """The named key exists but may not be used this way."""

    status = 403
    code = "forbidden"


class UnknownKeyError(RequestRefusedError):
    """The request names a key that this signer does not have."""

    status = 404
    code = "not_found"


class TooLargeError(RequestRefusedError):
    """The request holds more than the signer takes at once."""

    status = 413
    code = "payload_too_large"
