"""Runs the scripts of a transaction as a node does after Genesis: FORKID, strict DER, low S."""

from typing import Any, NamedTuple

import bitcoinx

from app.bitcoin.errors import ScriptVerificationError
from app.bitcoin.sighash import SighashHasher
from app.bitcoin.transactions import Transaction

_NODE_WORDS_BY_TEXT = {
    "signature does not follow strict DER encoding": "Non-canonical DER signature",
    "signature has high S value": "Non-canonical signature: S value is unnecessarily high",
    "undefined sighash type": "Signature hash type missing or not understood",
    "sighash must use FORKID": "Signature must use SIGHASH_FORKID",
}
_NODE_WORDS_BY_ERROR: tuple[tuple[type[Exception], str], ...] = (
    (bitcoinx.NullFailError, "Signature must be zero for failed CHECK(MULTI)SIG operation"),
    (bitcoinx.InvalidPublicKeyEncoding, "Public key is neither compressed or uncompressed"),
    (bitcoinx.PushOnlyError, "Only non-push operators allowed in signature scripts"),
    (bitcoinx.EqualVerifyFailed, "Script failed an OP_EQUALVERIFY operation"),
    (bitcoinx.InvalidStackOperation, "Operation not valid with the current stack size"),
    (bitcoinx.MinimalEncodingError, "Data push larger than necessary"),
    (bitcoinx.OpReturnError, "OP_RETURN was encountered"),
    (bitcoinx.InvalidOpcode, "Opcode missing or not understood"),
    (bitcoinx.TruncatedScriptError, "Opcode missing or not understood"),
    (bitcoinx.UnbalancedConditional, "Invalid OP_IF construction"),
    (bitcoinx.CleanStackError, "Extra items left on stack after execution"),
)
_FALSE_RESULT = "Script evaluated without error but finished with a false/empty top stack element"
# Beside its own errors bitcoinx lets Python's out where a script is made to break it.
_SCRIPT_FAILURES = (bitcoinx.ScriptError, ArithmeticError, LookupError, ValueError)
_LARGEST_SCRIPT = 1_000_000
_LARGEST_STACK = 1_000_000


class _Input(NamedTuple):
    script_sig: Any
    sequence: int


class _Output(NamedTuple):
    value: int
    script_pubkey: Any


class _CheckedTransaction:
    """What bitcoinx's interpreter asks of a transaction, with the shared hashes kept.

    bitcoinx's own class hashes all inputs again for each input: quadratic in their number.
    """

    def __init__(self, transaction: Transaction) -> None:
        self.version = transaction.version
        self.locktime = transaction.locktime
        self.inputs = [
            _Input(bitcoinx.Script(tx_input.unlocking_script), tx_input.sequence)
            for tx_input in transaction.inputs
        ]
        self._hasher = SighashHasher(transaction)

    def signature_hash(self, index: int, satoshis: int, script_code: Any, sighash: int) -> bytes:
        """Return the digest; only types with FORKID get here."""
        return self._hasher.digest(index, bytes(script_code), satoshis, int(sighash))


def _limits() -> Any:
    # The interpreter writes to its limits, so each verification has its own. They are lower than
    # a node's: the scripts that we spend are tiny, and a hostile one must not hold the process.
    policy = bitcoinx.MinerPolicy(
        max_script_size=_LARGEST_SCRIPT,
        max_script_num_length=256,
        max_stack_memory_usage=_LARGEST_STACK,
        max_ops_per_script=10_000,
        max_pubkeys_per_multisig=64,
    )
    limits = bitcoinx.InterpreterLimits(policy, is_genesis_enabled=True, is_consensus=False)
    # Without it OP_NUM2BIN makes items of gigabytes before the stack's own limit is asked.
    limits.item_size = _LARGEST_STACK
    return limits


def _node_words(error: BaseException) -> str:
    text = str(error)
    if text in _NODE_WORDS_BY_TEXT:
        return _NODE_WORDS_BY_TEXT[text]
    for kind, words in _NODE_WORDS_BY_ERROR:
        if isinstance(error, kind):
            return words
    return text or type(error).__name__


def verify_input_scripts(transaction: Transaction) -> None:
    """Run every input's scripts; every spent output must be known.

    Raises ScriptVerificationError for the first input that fails, in a node's words. Like a
    node it accepts every sighash type with FORKID, not only ALL|FORKID.
    """
    spent_outputs = [tx_input.require_spent() for tx_input in transaction.inputs]
    checked, limits = _CheckedTransaction(transaction), _limits()
    for index, spent in enumerate(spent_outputs):
        output = _Output(spent.satoshis, bitcoinx.Script(spent.locking_script))
        context = bitcoinx.TxInputContext(checked, index, output)
        try:
            is_unlocked = context.verify_input(limits, True)
        except _SCRIPT_FAILURES as error:
            raise ScriptVerificationError(index, _node_words(error)) from error
        if not is_unlocked:
            raise ScriptVerificationError(index, _FALSE_RESULT)
