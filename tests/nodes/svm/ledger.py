"""The chain: its blocks, what landed in them, and every account as it was at each height.

LiteSVM executes transactions and knows the newest state only. What a cluster has besides is here: blocks that become
confirmed and finalized, a state for each of these levels, blockhashes that expire, forks that take blocks back.
"""

import json
import os
import time
from dataclasses import dataclass, field

from solders.account import Account
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

SYSTEM = Pubkey.default()
COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")

# For how many blocks a transaction may name a blockhash.
BLOCKHASH_LIFE = 150
# A cluster's leaders miss some of their slots, so that slots and heights are different numbers.
MISSED_SLOT = 20


@dataclass
class Landed:
    """A transaction that paid its fee, so it is in a block, whether it failed or not."""

    transaction: VersionedTransaction
    height: int
    err: object
    meta: object
    before: list
    after: list

    @property
    def signature(self):
        return str(self.transaction.signatures[0])


@dataclass
class Block:
    slot: int
    parent: int
    previous: str
    hash: str = field(default_factory=lambda: str(Hash(os.urandom(32))))
    time: int = field(default_factory=lambda: int(time.time()))
    landed: list = field(default_factory=list)
    # What a test says that everybody paid in it.
    price: int = None


class Ledger:
    def __init__(self, finality):
        # Blockhashes, signatures and repeated transactions are judged at a height, which LiteSVM knows nothing of.
        self.svm = LiteSVM().with_blockhash_check(False).with_sigverify(False).with_transaction_history(0)
        self.depths = {"processed": 0, "confirmed": 1, "finalized": finality}
        self.lag = 0
        self.slot = 0
        self.blocks = [Block(0, 0, str(Hash.default()))]
        self.born = {self.blocks[0].hash: 0}
        self.landed = {}
        # Of each account that was ever written: from which height on it was what.
        self.versions = {}
        # From the start something is final, and something is not yet.
        self.grow(finality + 1)

    def grow(self, blocks=1):
        for _ in range(blocks):
            self.slot += 2 if (self.slot + 1) % MISSED_SLOT == 0 else 1
            last = self.blocks[-1]
            self.blocks.append(Block(self.slot, last.slot, last.hash))
            self.born[self.blocks[-1].hash] = len(self.blocks) - 1
        self.svm.warp_to_slot(self.slot)

    def fork(self, depth):
        """The newest blocks were on a fork that the cluster left. Others come in their place, in later slots."""
        keep = len(self.blocks) - depth
        for block in self.blocks[keep:]:
            del self.born[block.hash]
            for landed in block.landed:
                del self.landed[landed.signature]
        del self.blocks[keep:]
        for key, versions in self.versions.items():
            if versions[-1][0] >= keep:
                versions[:] = [version for version in versions if version[0] < keep]
                self._restore(key, versions[-1][1])
        self.grow(depth + 1)

    def height(self, commitment):
        """Of the newest block at this level, for a node that may lag behind."""
        return max(0, len(self.blocks) - 1 - self.lag - self.depths[commitment])

    def account(self, key, height):
        for since, account in reversed(self.versions.get(key, [])):
            if since <= height:
                return account
        return self.svm.get_account(key)

    def write(self, key, account):
        """Puts an account into the newest block without a transaction."""
        before = self.svm.get_account(key)
        self.svm.set_account(key, account)
        self._remember(key, before, account)

    def is_recent(self, blockhash, height):
        """Whether a block at this height may have a transaction with this blockhash."""
        return 0 <= height - self.born.get(blockhash, len(self.blocks)) <= BLOCKHASH_LIFE

    def last_valid_height(self, blockhash):
        return self.born[blockhash] + BLOCKHASH_LIFE

    def seen(self, signature, height):
        """What has landed under this signature, as far as a node at this height knows."""
        landed = self.landed.get(signature)
        return landed if landed and landed.height <= height else None

    def refusal(self, transaction, height):
        """Why it cannot land in the block after this height, as far as that does not take its execution."""
        if not self.is_recent(str(transaction.message.recent_blockhash), height):
            return "BlockhashNotFound"
        return "AlreadyProcessed" if self.seen(str(transaction.signatures[0]), height) else None

    def simulate(self, transaction, height):
        """What it would do to the state at this height: its error, its metadata, its accounts afterwards."""
        keys = transaction.message.account_keys
        newest = {key: self.svm.get_account(key) for key in keys if key in self.versions}
        try:
            for key in newest:
                self._restore(key, self.account(key, height))
            outcome = self.svm.simulate_transaction(transaction)
        finally:
            for key, account in newest.items():
                self._restore(key, account)
        return error_of(outcome), outcome.meta(), dict(getattr(outcome, "post_accounts", list)())

    def land(self, transaction):
        """Puts it into the newest block. One that cannot pay, or came too late or twice, is dropped without a word."""
        tip = len(self.blocks) - 1
        if self.refusal(transaction, tip) or not all(transaction.verify_with_results()):
            return
        keys = transaction.message.account_keys
        before = [self.svm.get_account(key) for key in keys]
        outcome = self.svm.send_transaction(transaction)
        after = [self.svm.get_account(key) for key in keys]
        if lamports(after[0]) == lamports(before[0]):
            return
        for index, key in enumerate(keys):
            if is_writable(transaction.message, index):
                self._remember(key, before[index], after[index])
        err = error_of(outcome)
        landed = Landed(transaction, tip, err, outcome.meta() if err else outcome, before, after)
        self.blocks[tip].landed.append(landed)
        self.landed[landed.signature] = landed

    def fee(self, message):
        unsigned = [Signature.default()] * message.header.num_required_signatures
        return self.svm.simulate_transaction(VersionedTransaction.populate(message, unsigned)).meta().fee()

    def _remember(self, key, before, after):
        versions = self.versions.setdefault(key, [(-1, before)])
        versions.append((len(self.blocks) - 1, after))

    def _restore(self, key, account):
        self.svm.set_account(key, account or Account(0, b"", SYSTEM))


def error_of(outcome):
    """As JSON-RPC tells it, such as `{"InstructionError": [0, {"Custom": 1}]}`. None for a success."""
    return json.loads(outcome.to_json())["err"] if hasattr(outcome, "err") else None


def lamports(account):
    return account.lamports if account else 0


def is_writable(message, index):
    header, keys = message.header, len(message.account_keys)
    if index < header.num_required_signatures:
        return index < header.num_required_signatures - header.num_readonly_signed_accounts
    return index < keys - header.num_readonly_unsigned_accounts


def written_keys(message):
    return [key for index, key in enumerate(message.account_keys) if is_writable(message, index)]


def unit_price(message):
    """In micro-lamports for each compute unit."""
    for instruction in message.instructions:
        data = bytes(instruction.data)
        if message.account_keys[instruction.program_id_index] == COMPUTE_BUDGET and data[:1] == b"\x03":
            return int.from_bytes(data[1:9], "little")
    return 0


def least_price(block, keys):
    """The least that was paid in this block, or what it took there to write one of these accounts, if that is more."""
    if block.price is not None:
        return block.price
    messages = [landed.transaction.message for landed in block.landed]
    least = min(map(unit_price, messages), default=0)
    for key in keys:
        writers = [message for message in messages if key in written_keys(message)]
        least = max(least, min(map(unit_price, writers), default=0))
    return least
