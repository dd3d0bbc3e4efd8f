"""Tables of the chain's database."""

SCHEMA_VERSION = 1

# An output's `height` and `spent_height` repeat what its transactions say, so that the unspent
# outputs of a script are one index scan. `position` is the order of arrival: a parent always
# arrives before its children, and keeps its place when a reorganisation sends it back.
SCHEMA = """
CREATE TABLE blocks (
    hash TEXT PRIMARY KEY,
    height INTEGER NOT NULL,
    header BLOB NOT NULL,
    chainwork TEXT NOT NULL,
    size INTEGER NOT NULL,
    tx_count INTEGER NOT NULL,
    fees INTEGER NOT NULL,
    is_active INTEGER NOT NULL
);
CREATE UNIQUE INDEX active_blocks ON blocks (height) WHERE is_active = 1;

CREATE TABLE transactions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    txid TEXT NOT NULL UNIQUE,
    raw BLOB NOT NULL,
    fee INTEGER NOT NULL,
    is_coinbase INTEGER NOT NULL,
    height INTEGER,
    tx_index INTEGER
);
CREATE UNIQUE INDEX block_transactions ON transactions (height, tx_index)
    WHERE height IS NOT NULL;
CREATE INDEX mempool ON transactions (position) WHERE height IS NULL;

CREATE TABLE outputs (
    txid TEXT NOT NULL,
    vout INTEGER NOT NULL,
    satoshis INTEGER NOT NULL,
    script BLOB NOT NULL,
    script_hash TEXT NOT NULL,
    is_data INTEGER NOT NULL,
    is_coinbase INTEGER NOT NULL,
    height INTEGER,
    spent_by TEXT,
    spent_vin INTEGER,
    spent_height INTEGER,
    PRIMARY KEY (txid, vout)
) WITHOUT ROWID;
CREATE INDEX outputs_of_script ON outputs (script_hash, spent_height, height);
CREATE INDEX outputs_of_spender ON outputs (spent_by) WHERE spent_by IS NOT NULL;

-- Outputs that no block spends; the mempool may. Data never counts as unspent.
CREATE VIEW unspent AS SELECT * FROM outputs WHERE spent_height IS NULL AND is_data = 0;

-- Valid transactions whose locktime has not come: accepted, and unknown to every lookup.
CREATE TABLE non_final (
    txid TEXT PRIMARY KEY,
    raw BLOB NOT NULL
);

-- What left the mempool or the chain without being mined again: 'evicted' or 'reorganised'.
CREATE TABLE dropped (
    txid TEXT PRIMARY KEY,
    reason TEXT NOT NULL
);

-- What ARC was asked to send, with the node's last word on it.
CREATE TABLE arc_transactions (
    txid TEXT PRIMARY KEY,
    raw BLOB NOT NULL,
    status TEXT NOT NULL,
    extra_info TEXT NOT NULL,
    competing TEXT NOT NULL
);
"""
