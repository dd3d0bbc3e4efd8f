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
    if not (directory / "keystore.json").exists():
        _run_signer(site, "init")
    present = {key["keyIdentifier"] for key in _list_keys(site)}
    for name in KEYS:
        if name not in present:
            _run_signer(site, "add-key", name, "--purpose", name)
    site.state["keys"] = {key["keyIdentifier"]: key for key in _list_keys(site)}
    site.save()


def _list_keys(site: Site) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(_run_signer(site, "list", "--json"))
    return keys


def _run_signer(site: Site, *words: str) -> str:
    return run_python(site, "-m", "signer", *words, environment=signer_environment(site))
