"""The signer as a process: what it shows, how it starts, how it ends."""

import json
import secrets
import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey

API_KEY = "integration-test-api-key"
PASSPHRASE = "integration test passphrase"
MakeSigner = Callable[[], Any]


def sign_one(signer: Any, name: str = "issuer-1") -> Any:
    body = {"requests": [{"keyIdentifier": name, "sighash": "ab" * 32}]}
    return signer.call("POST", "/sign", body)


def test_p6_nothing_secret_is_shown(make_signer: MakeSigner) -> None:
    """Log, output, command line, environment of parent and worker, and the files it writes."""
    signer = make_signer()
    challenge = secrets.token_hex(24)
    client_key = PrivateKey.generate().public_key.to_hex()
    signer.start()
    assert sign_one(signer).status == 200
    body = {"Mhex": challenge, "pmcHex": client_key}
    shared = signer.call("POST", "/svd/derive-secret", body).json["sharedSecretHex"]
    signer.request("POST", "/sign", {"requests": challenge}, {"x-api-key": "wrong-" + API_KEY})
    signer.call("POST", "/sign", {challenge: client_key})
    shown = signer.log_path.read_text() + "".join(_command_lines(signer.process.pid))
    listed = signer.command("list")
    shown += listed.stdout + listed.stderr + signer.command("list", "--json").stdout
    shown += Path(signer.environment["SIGNER_KEYSTORE"]).read_text()
    keys = [PrivateKey.from_hex(byte * 32) for byte in ("11", "22", "33")]
    forbidden = [API_KEY, PASSPHRASE, challenge, client_key, shared, "ab" * 32]
    forbidden += [key.to_bytes().hex() for key in keys]
    forbidden += [key.to_wif(network) for key in keys for network in Network]
    assert [secret for secret in forbidden if secret in shown] == []


def _command_lines(pid: int) -> list[str]:
    parent = psutil.Process(pid)
    processes = [parent, *parent.children(recursive=True)]
    assert len(processes) == 2
    return [" ".join(process.cmdline()) for process in processes]


def test_restart_keeps_the_keys_and_takes_up_new_ones(make_signer: MakeSigner) -> None:
    signer = make_signer()
    signer.start()
    before = sign_one(signer).json
    added = signer.command("add-key", "pool-2", "--purpose", "funding", "--json")
    assert sign_one(signer, "pool-2").status == 404
    signer.stop()
    signer.start()
    assert sign_one(signer).json == before
    signed = sign_one(signer, "pool-2").json["signatures"][0]
    assert signed["pubKeyHex"] == json.loads(added.stdout)["publicKeyHex"]


def test_sigterm_ends_it_in_time_with_an_idle_connection_open(make_signer: MakeSigner) -> None:
    signer = make_signer()
    signer.start()
    connection = HTTPConnection("127.0.0.1", signer.port, timeout=10)
    connection.request("GET", "/health")
    connection.getresponse().read()
    code, seconds = signer.stop()
    connection.close()
    assert code == 0
    # An idle connection is not waited for as a request is.
    assert seconds < 15
    with pytest.raises(ConnectionRefusedError):
        signer.request("GET", "/health")


def test_request_under_way_is_answered_before_the_end(make_signer: MakeSigner) -> None:
    signer = make_signer()
    signer.start()
    entry = {"keyIdentifier": "issuer-1", "sighash": "ab" * 32}
    answers: list[Any] = []
    body = {"requests": [entry] * 2000}
    thread = threading.Thread(target=lambda: answers.append(signer.call("POST", "/sign", body)))
    thread.start()
    while thread.is_alive() and not _has_connection(signer.process.pid):
        pass
    assert signer.stop()[0] == 0
    thread.join()
    assert len(answers[0].json["signatures"]) == 2000


def _has_connection(pid: int) -> bool:
    worker = psutil.Process(pid).children()[0]
    return any(c.status == psutil.CONN_ESTABLISHED for c in worker.net_connections("tcp"))


def test_port_in_use_is_one_sentence_and_an_exit_code(make_signer: MakeSigner) -> None:
    signer = make_signer()
    signer.environment["KMS_API_KEY"] = API_KEY
    with socket.create_server(("127.0.0.1", signer.port)):
        result = signer.command("serve")
    assert result.returncode == 7
    assert result.stderr == (
        f"Error: Cannot listen on 127.0.0.1, port {signer.port}: Address already in use.\n"
    )


def test_wrong_passphrase_ends_serve_at_once(make_signer: MakeSigner) -> None:
    signer = make_signer()
    signer.environment |= {"KMS_API_KEY": API_KEY, "SIGNER_PASSPHRASE": "wrong"}
    result = signer.command("serve")
    assert result.returncode == 5
    assert result.stderr == "Error: The passphrase is wrong, or the keystore has been edited.\n"


def test_secrets_come_from_files(make_signer: MakeSigner, tmp_path: Path) -> None:
    signer = make_signer()
    for name, content in (("passphrase", PASSPHRASE), ("api-key", API_KEY)):
        (tmp_path / name).write_text(content + "\n")
    del signer.environment["SIGNER_PASSPHRASE"]
    signer.start(
        KMS_API_KEY="",
        KMS_API_KEY_FILE=str(tmp_path / "api-key"),
        SIGNER_PASSPHRASE_FILE=str(tmp_path / "passphrase"),
    )
    assert sign_one(signer).status == 200


def test_dead_worker_is_replaced(make_signer: MakeSigner) -> None:
    signer = make_signer()
    signer.start()
    parent = psutil.Process(signer.process.pid)
    worker = parent.children()[0]
    worker.kill()
    psutil.wait_procs([worker], timeout=5)
    assert sign_one(signer).status == 200
    assert parent.children()[0].pid != worker.pid


def test_it_leaves_no_other_files(make_signer: MakeSigner, tmp_path: Path) -> None:
    signer = make_signer()
    signer.start(HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path))
    signer.stop()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["keystore.json", "signer.log"]
