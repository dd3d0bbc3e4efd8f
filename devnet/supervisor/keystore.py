"""The signer's keystore of a devnet, made with the signer's own commands."""

from __future__ import annotations

import json
from typing import Any

from devnet.supervisor.files import make_private_directory
from devnet.supervisor.oneshot import run_python
from devnet.supervisor.site import Site

# The name of each key is also what it is for.
KEYS = ("issuer", "funding", "svd")


def signer_environment(site: Site) -> dict[str, str]:
    """What the signer's commands and its server need to know."""
    return {
        "SIGNER_KEYSTORE": str(site.data_directory("signer") / "keystore.json"),
        "SIGNER_PASSPHRASE_FILE": str(site.secret_path("signer_passphrase")),
        "SIGNER_NETWORK": "regtest",
        "SIGNER_BIND": "127.0.0.1",
        "SIGNER_PORT": str(site.port("signer")),
        "KMS_API_KEY_FILE": str(site.secret_path("kms_api_key")),
    }


def prepare_keystore(site: Site) -> None:
    """Make the keystore and the keys that it lacks; keep the public parts in the state."""
    if "keys" in site.state:
        return
    directory = make_private_directory(site.data_directory("signer"))
    keys: dict[str, Any] = {}
    if (directory / "keystore.json").exists():
        keys = {
            key["keyIdentifier"]: key for key in json.loads(_run_signer(site, "list", "--json"))
        }
    else:
        _run_signer(site, "init")
    for name in KEYS:
        if name not in keys:
            keys[name] = json.loads(_run_signer(site, "add-key", name, "--purpose", name, "--json"))
    site.state["keys"] = keys
    site.save()


def _run_signer(site: Site, *words: str) -> str:
    return run_python(site, "-m", "signer", *words, environment=signer_environment(site))
