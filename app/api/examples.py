"""Examples of the OpenAPI document: by route, the request's body and the bodies of its successes.

Keys and signatures are those of the public vectors: key 11...11, a patch on the main network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UID = "NFC_UID_001"
_TXID = "aa" * 32
_NEXT_TXID = "04a6646ba0c6137bb684f9c0f77a8d15a7dda303a6854b3a4796d24eed562deb"
_METADATA_HASH = "b8cf35c116818c2c16342f189fb783b8b27198fcc9c3b6ce6deb62814260f009"
_OWNER = "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"
_NEW_OWNER = "12c6DSiU4Rq3P4ZxziKxzrL5LmMBrzjrJX"
_PUBLIC_KEY = "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"
_NEW_PUBLIC_KEY = "02466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f27"
_ISSUER_SIGNATURE = (
    "3045022100d6e7cbe14c5c0cc72af126968d62f15274624b0c158ac1f504a49f2eb2086b1202207ffc84ffc67ce91b"
    "7779dddbee53e4ebd2c0f0e45b2c058d8ea869c33d319cc6"
)
_TRANSFER_SIGNATURE = (
    "304402203b7951882ec47298a0c28b16983082b11b88cd0258126a9b15efd8ba4c83f37502201d3db60e6dd7a91fb4"
    "d60dee216185f209a589e01c057de31ec7850934430ec1"
)
_UNLOCK_SIGNATURE = (
    "304402205038e95eab5e61a3f3290416018bb6e661d440b6800d6a3a1deb4ff957c0b0da02204fe47c841bfdcb3027"
    "c45a2a49568c6123680cf8fa5643f7029efb9ccbe3fae9"
)
_CLAIM_SIGNATURE = (
    "3045022100e7a84e87fdb5c7e66ea928c199ee371c7c56cef67c5166b2fc367664bea9fe5e022015abb066a5fee280"
    "52ab909733294ee9e26b4a75dce51f2b05df0f15b0a99aaf"
)
_LOGIN_SIGNATURE = (
    "3045022100a7e446163d4d6a196c10512a3ac60d95b75fd46217cc664ce5a49beb373ca79d0220290d772d8a269058"
    "d64f1a8a082a3a77724a807d2a2e44ba8e2d92aaaa4e1492"
)
_USER = "507f1f77bcf86cd799439011"
_CHALLENGE = "000000006500000000112233445566778899aabbccddeeff"
_NONCE = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
_RECORD_ID = "6560a1b2c3d4e5f601234567"
_CLAIM_ID = "6560a1b2c3d4e5f60123abcd"
_JOB_ID = "5b0c7a3e-3c55-4c6e-9d36-5b4f0f2a7c11"
# A token only in its shape.
_BEARER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI1MDdmMWY3N2JjZjg2Y2Q3OTk0MzkwMTEifQ.c2ln"
_BEFORE = "2026-01-05T10:15:00.000Z"
_AFTER = "2026-01-05T10:15:07.000Z"
_CERTIFICATE = (
    "https://patchproof.example/certificates/certificate.html"
    f"?dataHash={_METADATA_HASH}&txid={_TXID}"
)
_ACCEPTED = {
    "message": "the patch will be anchored",
    "jobId": _JOB_ID,
    "uid_tag_id": _UID,
    "pendingId": _RECORD_ID,
}
_PENDING = {
    "id": _RECORD_ID,
    "uid_tag_id": _UID,
    "status": "confirmed",
    "txid": _TXID,
    "error": None,
    "created_at": _BEFORE,
    "updated_at": _AFTER,
}
_LEVELS = {
    "unconfirmed": {"count": 0, "totalSatoshis": 0},
    "available": {"count": 40, "totalSatoshis": 200000},
    "locked": {"count": 2, "totalSatoshis": 10000},
    "spent": {"count": 1200, "totalSatoshis": 6000000},
}
_MAINTENANCE = {
    "request": {"action": "sync"},
    "200": {
        "success": True,
        "action": "sync",
        "result": {"sync": {"added": 3, "spent": 0, "confirmed": 1}},
    },
}

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "GET /__ping": {"200": "pong"},
    "GET /health": {"200": {"status": "ok"}},
    "GET /ready": {"200": {"ready": True}},
    "POST /v1/patches": {
        "request": {
            "product": {"uid_tag_id": _UID, "name": "Rain jacket", "sku": "RJ-42-M"},
            "metadata": {"notes": "Test"},
            "auth": {"owner": _OWNER},
        },
        "201": {
            "message": "the patch is registered",
            "txid": _TXID,
            "certificateUrl": _CERTIFICATE,
        },
        "202": _ACCEPTED,
    },
    "POST /v1/patches/{txid}/transfer-ownership": {
        "request": {
            "newOwnerAddress": _NEW_OWNER,
            "currentOwnerSignature": _TRANSFER_SIGNATURE,
            "currentOwnerPubKey": _PUBLIC_KEY,
        },
        "200": {"message": "the patch has a new owner", "newTxid": _NEXT_TXID},
        "202": {**_ACCEPTED, "message": "the transfer will be anchored"},
    },
    "GET /v1/patches/pending/registration/{record_id}": {
        "200": {**_PENDING, "certificateUrl": _CERTIFICATE}
    },
    "GET /v1/patches/pending/transfer/{record_id}": {"200": _PENDING},
    "GET /v1/patches/verify/{uid_tag_id}": {
        "200": {
            "status": "authentic",
            "record": {
                "type": "AUTHENTICATION_RECORD",
                "product": {"uid_tag_id": _UID, "name": "Rain jacket"},
                "metadata": {"notes": "Test"},
                "auth": {
                    "owner": _OWNER,
                    "issuer_signature": _ISSUER_SIGNATURE,
                    "issuer_pubkey": _PUBLIC_KEY,
                    "ts": 1700000000000,
                },
            },
            "metadata_sha256": _METADATA_HASH,
            "verificationDetails": {
                "issuerSignatureValid": True,
                "movedBy": "registration",
                "onChainTxid": _TXID,
                "anchorTxid": _TXID,
                "batch": None,
                "metadata_sha256": _METADATA_HASH,
                "blockHeight": 850000,
                "confirmations": 12,
                "findings": [],
                "erased": [],
            },
        }
    },
    "GET /v1/patches/{uid_tag_id}/history": {
        "200": {
            "uid_tag_id": _UID,
            "events": [
                {
                    "kind": "REGISTRATION",
                    "txid": _TXID,
                    "anchor_txid": _TXID,
                    "owner": _OWNER,
                    "moved_by": "registration",
                    "erased": [],
                    "prev_txid": None,
                    "occurred_at": _BEFORE,
                    "block_height": 850000,
                    "confirmations": 12,
                }
            ],
        }
    },
    "POST /v1/patches/{uid_tag_id}/unlock-challenge": {
        "200": {"nonce": _NONCE, "expiresAt": _AFTER}
    },
    "POST /v1/patches/{uid_tag_id}/unlock-content": {
        "request": {
            "ownerPubKey": _PUBLIC_KEY,
            "ownerSignature": _UNLOCK_SIGNATURE,
            "nonce": _NONCE,
        },
        "200": {"authorized": True, "uid_tag_id": _UID, "txid": _TXID},
    },
    "POST /v1/pos/claim-intent": {
        "request": {
            "uid": _UID,
            "customer": {"address": _OWNER, "userId": "customer-7", "pubKey": _PUBLIC_KEY},
            "challenge": {"ts": 1700000000000, "nonce": "abcdef"},
            "signature": _CLAIM_SIGNATURE,
        },
        "201": {"id": _CLAIM_ID, "status": "pending"},
    },
    "POST /v1/pos/claim-approve": {
        "request": {"intentId": _CLAIM_ID, "approvedBy": "till 3"},
        "200": {
            "id": _CLAIM_ID,
            "status": "approved",
            "pendingId": _RECORD_ID,
            "jobId": _JOB_ID,
        },
    },
    "GET /v1/pos/claim-status/{claim_id}": {
        "200": {
            "id": _CLAIM_ID,
            "status": "confirmed",
            "txid": _NEXT_TXID,
            "error": None,
            "approvedBy": "till 3",
        }
    },
    "POST /v1/auth/request-verification": {
        "request": {"identifier": "owner@home.example"},
        "200": {"success": True, "message": "a code is on its way to this address"},
    },
    "POST /v1/auth/submit-verification": {
        "request": {"identifier": "owner@home.example", "code": "123456"},
        "200": {"success": True, "token": _BEARER},
    },
    "POST /v1/auth/logout": {"200": {"success": True, "message": "you are logged out"}},
    "POST /api/svd/register-challenge": {
        "request": {"userId": _USER},
        "200": {"nonce": _NONCE, "expiresAt": _AFTER},
    },
    "POST /api/svd/register": {
        "request": {"userId": _USER, "pmcHex": _PUBLIC_KEY},
        "201": {"success": True, "message": "the key is registered"},
    },
    "POST /api/svd/rotate": {
        "request": {
            "userId": _USER,
            "newPmcHex": _NEW_PUBLIC_KEY,
            "nonce": _NONCE,
            "signatureHex": _LOGIN_SIGNATURE,
            "newSignatureHex": _LOGIN_SIGNATURE,
        },
        "200": {"success": True, "message": "the new key is in force"},
    },
    "POST /api/svd/begin": {
        "request": {"userId": _USER},
        "200": {"M": _CHALLENGE, "pmcHex": None},
    },
    "POST /api/svd/complete": {
        "request": {"userId": _USER, "M": _CHALLENGE, "signatureHex": _LOGIN_SIGNATURE},
        "200": {"token": _BEARER},
    },
    "GET /api/svd/kid": {"200": {"kid": "svd-9946bb84db1a672b"}},
    "GET /api/svd/canary": {
        "200": {
            "ok": True,
            "kid": "svd-9946bb84db1a672b",
            "metrics": {"begin": 120, "complete": 118},
            "timestamp": _AFTER,
        }
    },
    "GET /v1/privacy/export": {
        "200": {
            "success": True,
            "subject": _USER,
            "exportedAt": _AFTER,
            "keys": [{"publicKey": _PUBLIC_KEY, "address": _OWNER, "provenBy": "login"}],
            "loginKey": None,
            "keyProofs": [],
            "codeRequests": [],
            "claims": [],
            "claimsNamingSubject": 0,
            "records": [],
            "handovers": [],
            "elsewhere": [],
            "nextCursor": None,
        }
    },
    "DELETE /v1/privacy/delete": {
        "200": {
            "success": True,
            "subject": _USER,
            "status": "done",
            "requestedAt": _BEFORE,
            "finishedAt": _AFTER,
            "erased": [{"what": "login key", "source": "svd_registry", "count": 1}],
            "remains": [],
        }
    },
    "POST /v1/privacy/keys": {
        "request": {"pubKey": _PUBLIC_KEY, "signature": _UNLOCK_SIGNATURE},
        "201": {
            "success": True,
            "publicKey": _PUBLIC_KEY,
            "address": _OWNER,
            "provenAt": _AFTER,
        },
    },
    "GET /v1/admin/utxo-health": {
        "200": {
            "db": _LEVELS,
            "funding": {"address": _OWNER, "network": "main", "minConfirmations": 1},
            "chain": {
                "totalUtxos": 42,
                "totalSatoshis": 210000,
                "confirmedUtxos": 40,
                "confirmedSatoshis": 200000,
                "height": 850011,
            },
            "fuel": {
                "usefulUtxos": 40,
                "lowMark": 10,
                "satoshisPerKilobyte": 100,
                "satoshisPerRegistration": 52,
                "registrationsLeft": 3800,
                "registrationsLastHour": 20,
                "hoursLeft": 190.0,
                "waitingRecords": 0,
                "oldestWaitingSeconds": None,
                "oldestWaitingReason": None,
                "warnings": [],
            },
        }
    },
    "POST /v1/admin/utxo-maintain": _MAINTENANCE,
    "POST /v1/admin/utxo-maintenance": _MAINTENANCE,
    "POST /v1/admin/batch-anchor": {
        "request": {"limit": 1000},
        "200": {"success": True, "txid": _TXID, "processed": 1000, "updated": 1000},
        "202": {"success": True, "txid": _TXID, "processed": 1000, "updated": 0},
    },
    "GET /v1/admin/invariants": {
        "200": {
            "ok": True,
            "checked": ["no outpoint in two live transactions"],
            "notChecked": {},
            "violations": [],
            "notices": [],
        }
    },
}
