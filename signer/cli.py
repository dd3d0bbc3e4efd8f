"""The commands of `python -m signer`."""

import json
import os
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from app.bitcoin import self_test
from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from signer import keystore, server, settings
from signer.errors import InstallationError, KeyRefusedError, SignerError
from signer.keyring import Purpose, SignerKey, read_private_key
from signer.logs import configure_logging
from signer.web import create_app

HELP = """The PatchProof signing service: the only place with private keys.

\b
Examples:
  export SIGNER_KEYSTORE=/var/lib/patchproof-signer/keystore.json
  export SIGNER_PASSPHRASE_FILE=/etc/patchproof-signer/passphrase
  python -m signer init
  python -m signer add-key issuer-1 --purpose issuer
  python -m signer add-key pool-1 --purpose funding --import < key.wif
  python -m signer add-key login-1 --purpose svd
  python -m signer list
  SIGNER_NEW_PASSPHRASE_FILE=next python -m signer change-passphrase
  KMS_API_KEY_FILE=/etc/patchproof-signer/api-key python -m signer serve

\b
Settings (environment):
  SIGNER_KEYSTORE     path of the encrypted keystore file
  SIGNER_PASSPHRASE   its passphrase, or SIGNER_PASSPHRASE_FILE; else asked for
  SIGNER_NETWORK      main (default), test or regtest: the form of addresses
  KMS_API_KEY         what callers of serve present, or KMS_API_KEY_FILE
  SIGNER_BIND         address to serve on (127.0.0.1)
  SIGNER_PORT         port to serve on (4000)

\b
Exit codes:
  0  done
  2  wrong usage of a command
  3  a setting is missing or unusable
  4  the keystore is missing, in the way, damaged, or readable by others
  5  wrong passphrase, or the keystore has been edited
  6  the key cannot be added
  7  the address cannot be listened on
  8  the installation signs wrongly
"""


class SignerGroup(click.Group):
    """Turns the signer's errors into sentences instead of tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SignerError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(int(error.exit_code))


@click.group(cls=SignerGroup, help=HELP, context_settings={"max_content_width": 100})
def cli() -> None:
    """Hold the commands together."""


@cli.command()
def init() -> None:
    """Create an empty keystore.

    The file is at SIGNER_KEYSTORE, with mode 0600. An existing file is never overwritten.
    """
    path = settings.keystore_path(os.environ)
    keystore.create_keystore(path, settings.passphrase(os.environ, is_new=True))
    click.echo(f"Created {path}. Add a key next: python -m signer add-key NAME --purpose issuer")


@cli.command("add-key")
@click.argument("name")
@click.option(
    "--purpose",
    "purposes",
    type=click.Choice([purpose.value for purpose in Purpose]),
    multiple=True,
    required=True,
    help="What the key is for: issuer and funding sign, svd only derives login secrets.",
)
@click.option("--import", "is_import", is_flag=True, help="Read the key (hex or WIF) from stdin.")
@click.option("--json", "as_json", is_flag=True, help="Print the public part as JSON.")
def add_key(name: str, purposes: tuple[str, ...], is_import: bool, as_json: bool) -> None:
    """Generate or import a key.

    The key is called NAME on the wire. With --import it is read from stdin, else generated.
    A running signer sees it after a restart. The newest svd key is the one in use.

    \b
    Examples:
      python -m signer add-key issuer-1 --purpose issuer
      python -m signer add-key pool-1 --purpose funding --import < key.wif
    """
    path, network = settings.keystore_path(os.environ), settings.network(os.environ)
    private_key = read_private_key(settings.read_import()) if is_import else PrivateKey.generate()
    key = SignerKey(name, frozenset(Purpose(word) for word in purposes), private_key)
    keystore.add_key(path, settings.passphrase(os.environ), key)
    if as_json:
        click.echo(json.dumps(_describe(key, network), indent=2))
    else:
        _print_table([key], network)


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_keys(as_json: bool) -> None:
    """Show the public part of all keys.

    Private keys are never shown: the way to keep them is a copy of the keystore file.

    \b
    Examples:
      python -m signer list
      python -m signer list --json | jq -r '.[].address'
    """
    path, network = settings.keystore_path(os.environ), settings.network(os.environ)
    keys = list(keystore.read_keystore(path, settings.passphrase(os.environ)))
    if as_json:
        click.echo(json.dumps([_describe(key, network) for key in keys], indent=2))
    else:
        _print_table(keys, network)


@cli.command("change-passphrase")
def change_passphrase() -> None:
    """Seal the keystore with another passphrase.

    The new one comes from SIGNER_NEW_PASSPHRASE, from the file that SIGNER_NEW_PASSPHRASE_FILE
    names, or is asked for. The keys stay as they are; copies of the file keep the old one.

    A running signer goes on; put the new passphrase where it reads it before it starts again.

    \b
    Example:
      SIGNER_NEW_PASSPHRASE_FILE=new-passphrase python -m signer change-passphrase
    """
    path = settings.keystore_path(os.environ)
    old = settings.passphrase(os.environ)
    keystore.change_passphrase(path, old, settings.next_passphrase(os.environ))
    click.echo(f"Sealed {path} with the new passphrase. Copies of it still open with the old one.")


@cli.command()
def serve() -> None:
    """Answer requests to sign.

    Serves POST /sign, POST /svd/derive-secret, GET /pubkey and GET /health. The keystore is
    decrypted once, before the first request. Logs go to stderr as JSON lines. SIGTERM ends
    the service.

    \b
    Example:
      KMS_API_KEY_FILE=/etc/patchproof-signer/api-key python -m signer serve
    """
    _test_installation()
    path, network = settings.keystore_path(os.environ), settings.network(os.environ)
    serving = settings.serve_settings(os.environ)
    server.protect_memory()
    keyring = keystore.read_keystore(path, settings.passphrase(os.environ))
    if not len(keyring):
        raise KeyRefusedError("The keystore has no key to serve: add one with add-key.")
    configure_logging()
    listener = server.open_listener(serving.bind, serving.port)
    server.run(create_app(keyring, serving.api_key, network), listener)


def _test_installation() -> None:
    defects = self_test.find_defects()
    if defects:
        raise InstallationError(
            f"The Bitcoin code of this installation gives a wrong {' and '.join(defects)} for a "
            "known vector: install the release anew with the packages that it pins."
        )


def _describe(key: SignerKey, network: Network) -> dict[str, Any]:
    public_key = key.private_key.public_key
    return {
        "keyIdentifier": key.identifier,
        "purposes": key.purpose_names,
        "publicKeyHex": public_key.to_hex(),
        "address": public_key.address(network),
    }


def _print_table(keys: list[SignerKey], network: Network) -> None:
    table = Table("Name", "Purposes", f"Address ({network.value})", "Public key")
    # On a narrow terminal the public key gives way: addresses are what people copy.
    table.columns[2].no_wrap = True
    table.columns[3].overflow = "fold"
    for key in keys:
        row = _describe(key, network)
        purposes = ", ".join(row["purposes"])
        table.add_row(row["keyIdentifier"], purposes, row["address"], row["publicKeyHex"])
    Console().print(table)
