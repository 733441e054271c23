"""The methods of a Solana node, each a function by the name that it has on the wire."""

import base64
import binascii
from bisect import bisect_left

from solders.hash import Hash
from solders.message import from_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

import refusals
import shapes
from ledger import least_price

API_VERSION = "4.2.2"
LARGEST_TRANSACTION = 1232
# A node that is further behind says that it is not healthy.
HEALTHY_LAG = 128
# A node forgets the status of what landed earlier, unless it is told to search.
STATUS_LIFE = 150


class Methods:
    def __init__(self, ledger, genesis):
        self.ledger = ledger
        self.genesis = genesis

    # The node and its blocks

    def getHealth(self):
        if self.ledger.lag > HEALTHY_LAG:
            raise refusals.behind(self.ledger.lag)
        return "ok"

    def getVersion(self):
        return {"solana-core": API_VERSION, "feature-set": 0}

    def getGenesisHash(self):
        return self.genesis

    def getSlot(self, config=None):
        return self.ledger.blocks[self._height(config)].slot

    def getBlockHeight(self, config=None):
        return self._height(config)

    def getLatestBlockhash(self, config=None):
        height = self._height(config)
        blockhash = self.ledger.blocks[height].hash
        valid = self.ledger.last_valid_height(blockhash)
        return self._at(height, {"blockhash": blockhash, "lastValidBlockHeight": valid})

    def isBlockhashValid(self, blockhash, config=None):
        height = self._height(config)
        return self._at(height, self.ledger.is_recent(str(_parsed(Hash, blockhash)), height))

    def getBlocks(self, first, last=None, config=None):
        if isinstance(last, dict):
            last, config = None, last
        height = self._height(config, least="confirmed")
        slots = [block.slot for block in self.ledger.blocks[: height + 1]]
        return [slot for slot in slots if first <= slot and (last is None or slot <= last)]

    def getBlock(self, slot, config=None):
        config = config or {}
        height = self._height(config, least="confirmed")
        known = self.ledger.blocks[: height + 1]
        if slot > known[-1].slot:
            raise refusals.block_not_available(slot)
        at = bisect_left(known, slot, key=lambda block: block.slot)
        block = known[at]
        if block.slot != slot:
            raise refusals.slot_skipped(slot)
        answer = {"blockhash": block.hash, "previousBlockhash": block.previous, "parentSlot": block.parent}
        answer |= {"blockHeight": at, "blockTime": block.time}
        details = config.get("transactionDetails", "full")
        if details == "signatures":
            answer["signatures"] = [landed.signature for landed in block.landed]
        elif details == "full":
            answer["transactions"] = [self._transaction(landed, config) for landed in block.landed]
        return answer if config.get("rewards") is False else answer | {"rewards": []}

    # Accounts

    def getBalance(self, address, config=None):
        key, height = _parsed(Pubkey, address), self._height(config)
        account = self.ledger.account(key, height)
        return self._at(height, account.lamports if account else 0)

    def getAccountInfo(self, address, config=None):
        key, height = _parsed(Pubkey, address), self._height(config)
        return self._at(height, self._account(key, height, config))

    def getMultipleAccounts(self, addresses, config=None):
        keys, height = _several(Pubkey, addresses, 100), self._height(config)
        config = {"encoding": "base64"} | (config or {})
        return self._at(height, [self._account(key, height, config) for key in keys])

    def getMinimumBalanceForRentExemption(self, size, config=None):
        return self.ledger.svm.minimum_balance_for_rent_exemption(size)

    def getTokenAccountBalance(self, address, config=None):
        key, height = _parsed(Pubkey, address), self._height(config)
        held = shapes.token_account(self._existing(key, height))
        if held is None:
            raise refusals.invalid_params("Invalid param: not a Token account")
        return self._at(height, shapes.token_amount(held.amount, self._decimals(height)(held.mint)))

    def getTokenSupply(self, address, config=None):
        key, height = _parsed(Pubkey, address), self._height(config)
        mint = shapes.mint(self._existing(key, height))
        if mint is None:
            raise refusals.invalid_params("Invalid param: not a Token mint")
        return self._at(height, shapes.token_amount(mint.supply, mint.decimals))

    def getTokenAccountsByOwner(self, address, which, config=None):
        owner, height = _parsed(Pubkey, address), self._height(config)
        mint, program = (which.get(name) and _parsed(Pubkey, which[name]) for name in ("mint", "programId"))
        if mint and shapes.mint(self.ledger.account(mint, height)) is None:
            raise refusals.invalid_params("Invalid param: could not find mint")
        if not mint and program not in shapes.TOKEN_PROGRAMS:
            raise refusals.invalid_params("Invalid param: unrecognized Token program id")
        found = []
        for key in self.ledger.versions:
            account = self.ledger.account(key, height)
            held = shapes.token_account(account)
            if held and held.owner == owner and (held.mint == mint if mint else account.owner == program):
                found.append({"pubkey": str(key), "account": self._account(key, height, config)})
        return self._at(height, found)

    # Transactions

    def getFeeForMessage(self, message, config=None):
        height, message = self._height(config), _decoded(from_bytes_versioned, message, "base64")
        recent = self.ledger.is_recent(str(message.recent_blockhash), height)
        return self._at(height, self.ledger.fee(message) if recent else None)

    def getRecentPrioritizationFees(self, addresses=()):
        keys, newest = _several(Pubkey, addresses, 128), self.ledger.height("processed")
        recent = self.ledger.blocks[max(0, newest - 149) : newest + 1]
        return [{"slot": block.slot, "prioritizationFee": least_price(block, keys)} for block in recent]

    def simulateTransaction(self, transaction, config=None):
        config, height = config or {}, self._height(config)
        transaction = _transaction(transaction, config)
        replace = config.get("replaceRecentBlockhash", False)
        if config.get("sigVerify"):
            if replace:
                raise refusals.invalid_params("sigVerify may not be used with replaceRecentBlockhash")
            _verify(transaction)
        newest = self.ledger.blocks[height].hash
        valid = {"blockhash": newest, "lastValidBlockHeight": self.ledger.last_valid_height(newest)}
        result, after = self._simulated(transaction, height, any_blockhash=replace)
        wanted = (config.get("accounts") or {}).get("addresses")
        if wanted is not None:
            shown, decimals = {"encoding": "base64"} | config["accounts"], self._decimals(height)
            result["accounts"] = [shapes.account(after.get(Pubkey.from_string(it)), shown, decimals) for it in wanted]
        return self._at(height, result | {"replacementBlockhash": valid if replace else None})

    def sendTransaction(self, transaction, config=None):
        config = config or {}
        transaction = _transaction(transaction, config)
        level = "processed" if config.get("skipPreflight") else config.get("preflightCommitment", "finalized")
        height = self._height(config | {"commitment": level})
        if not config.get("skipPreflight"):
            _verify(transaction)
            self.getHealth()
            result, _ = self._simulated(transaction, height)
            if result["err"]:
                raise refusals.preflight(shapes.words(result["err"]), result)
        self.ledger.land(transaction)
        return str(transaction.signatures[0])

    def getSignatureStatuses(self, signatures, config=None):
        height, signatures = self.ledger.height("processed"), _several(Signature, signatures, 256)
        oldest = 0 if (config or {}).get("searchTransactionHistory") else height - STATUS_LIFE
        found = [self.ledger.seen(str(signature), height) for signature in signatures]
        return self._at(height, [self._status(it) if it and it.height >= oldest else None for it in found])

    def getTransaction(self, signature, config=None):
        if isinstance(config, str):
            config = {"encoding": config}
        height = self._height(config, least="confirmed")
        landed = self.ledger.seen(str(_parsed(Signature, signature)), height)
        if landed is None:
            return None
        block = self.ledger.blocks[landed.height]
        return {"slot": block.slot, "blockTime": block.time} | self._transaction(landed, config or {})

    def getSignaturesForAddress(self, address, config=None):
        key, config = _parsed(Pubkey, address), config or {}
        height, limit = self._height(config, least="confirmed"), config.get("limit", 1000)
        if not 0 < limit <= 1000:
            raise refusals.invalid_params("Invalid limit; max 1000")
        known = [landed for block in self.ledger.blocks[: height + 1] for landed in block.landed]
        found, below = [], config.get("before") is None
        for landed in reversed(known):
            if landed.signature == config.get("until"):
                break
            if below and key in landed.transaction.message.account_keys:
                block = self.ledger.blocks[landed.height]
                level = self._status(landed)["confirmationStatus"]
                found.append({"signature": landed.signature, "slot": block.slot, "err": landed.err, "memo": None})
                found[-1] |= {"blockTime": block.time, "confirmationStatus": level}
            below = below or landed.signature == config["before"]
        return found[:limit]

    # What the methods share

    def _height(self, config, least="processed"):
        """Of the block that the caller wants to be answered from."""
        config = config or {}
        level = config.get("commitment") or "finalized"
        if level not in self.ledger.depths:
            expected = "expected one of `processed`, `confirmed`, `finalized`"
            raise refusals.invalid_params(f"Invalid params: unknown variant `{level}`, {expected}.")
        if level == "processed" != least:
            raise refusals.invalid_params("Method does not support commitment below `confirmed`")
        height = self.ledger.height(level)
        slot = self.ledger.blocks[height].slot
        if slot < (config.get("minContextSlot") or 0):
            raise refusals.too_early(slot)
        return height

    def _at(self, height, value):
        return {"context": {"apiVersion": API_VERSION, "slot": self.ledger.blocks[height].slot}, "value": value}

    def _decimals(self, height):
        def decimals_of(key):
            mint = shapes.mint(self.ledger.account(key, height))
            return mint.decimals if mint else 0

        return decimals_of

    def _account(self, key, height, config):
        return shapes.account(self.ledger.account(key, height), config or {}, self._decimals(height))

    def _existing(self, key, height):
        account = self.ledger.account(key, height)
        if account is None:
            raise refusals.invalid_params("Invalid param: could not find account")
        return account

    def _simulated(self, transaction, height, any_blockhash=False):
        """The answer of a simulation, and the accounts as they would be."""
        result = {"err": self.ledger.refusal(transaction, height), "logs": [], "unitsConsumed": 0}
        if any_blockhash and result["err"] == "BlockhashNotFound":
            result["err"] = None
        after = {}
        if result["err"] is None:
            err, meta, after = self.ledger.simulate(transaction, height)
            result = {"err": err, "logs": meta.logs(), "unitsConsumed": meta.compute_units_consumed()}
        return result | {"accounts": None, "returnData": None, "innerInstructions": None}, after

    def _status(self, landed):
        deep = {level: landed.height <= self.ledger.height(level) for level in self.ledger.depths}
        level = "finalized" if deep["finalized"] else "confirmed" if deep["confirmed"] else "processed"
        confirmations = self.ledger.height("processed") - landed.height
        return {
            "slot": self.ledger.blocks[landed.height].slot,
            "confirmations": None if level == "finalized" else confirmations,
            "err": landed.err,
            "status": {"Err": landed.err} if landed.err else {"Ok": None},
            "confirmationStatus": level,
        }

    def _transaction(self, landed, config):
        version, newest = shapes.version(landed.transaction), config.get("maxSupportedTransactionVersion")
        if version != "legacy" and newest is None:
            raise refusals.unsupported_version(version)
        shown = shapes.transaction(landed.transaction, config.get("encoding", "json"))
        answer = {"transaction": shown, "meta": shapes.meta(landed, self._decimals(landed.height))}
        return answer if newest is None else answer | {"version": version}


def _parsed(kind, text):
    """A key, a signature or a hash."""
    if not isinstance(text, str):
        raise refusals.invalid_params(f"Invalid params: invalid type: {text!r}, expected a string.")
    try:
        return kind.from_string(text)
    except ValueError as error:
        cause = "WrongSize" if "wrong size" in str(error) else "Invalid"
        raise refusals.invalid_params(f"Invalid param: {cause}") from None


def _several(kind, texts, most):
    if len(texts) > most:
        raise refusals.invalid_params(f"Too many inputs provided; max {most}")
    return [_parsed(kind, text) for text in texts]


def _transaction(text, config):
    transaction = _decoded(VersionedTransaction.from_bytes, text, config.get("encoding", "base58"))
    try:
        transaction.sanitize()
    except Exception as error:
        raise refusals.invalid_params(f"invalid transaction: {error}") from None
    return transaction


def _decoded(read, text, encoding):
    try:
        data = base64.b64decode(text, validate=True) if encoding == "base64" else shapes.from_base58(text)
    except (binascii.Error, ValueError) as error:
        raise refusals.invalid_params(f"invalid {encoding} encoding: {error}") from None
    if len(data) > LARGEST_TRANSACTION:
        raise refusals.invalid_params(f"decoded too large: {len(data)} bytes (max: {LARGEST_TRANSACTION} bytes)")
    try:
        return read(data)
    except ValueError as error:
        raise refusals.invalid_params(f"failed to deserialize transaction: {error}") from None


def _verify(transaction):
    if not all(transaction.verify_with_results()):
        raise refusals.bad_signature()
