"""Accounts, transactions and blocks as a Solana node writes them in JSON."""

import base64

from solders.message import Message
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount

import refusals
from ledger import lamports

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
TOKEN_PROGRAMS = (TOKEN, TOKEN_2022)

# The epoch in which an account that holds enough will next pay rent.
RENT_EXEMPT = 2**64 - 1
LARGEST_BASE58 = 128

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def from_base58(text):
    number = 0
    for character in text:
        number = number * 58 + ALPHABET.index(character)
    return bytes(len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def token_account(account):
    """What an account of the token programs holds, if this is one."""
    is_one = account is not None and account.owner in TOKEN_PROGRAMS and len(account.data) >= 165
    return TokenAccount.from_bytes(bytes(account.data)[:165]) if is_one else None


def mint(account):
    is_one = account is not None and account.owner in TOKEN_PROGRAMS and len(account.data) == 82
    return Mint.from_bytes(bytes(account.data)) if is_one else None


def token_amount(amount, decimals):
    digits = str(amount).rjust(decimals + 1, "0")
    whole, part = digits[: len(digits) - decimals], digits[len(digits) - decimals :].rstrip("0")
    exact = f"{whole}.{part}" if part else whole
    return {"amount": str(amount), "decimals": decimals, "uiAmount": float(exact), "uiAmountString": exact}


def account(account, config, decimals_of):
    if account is None:
        return None
    data, cut, encoding = bytes(account.data), config.get("dataSlice"), config.get("encoding")
    if cut:
        data = data[cut["offset"] : cut["offset"] + cut["length"]]
    held = token_account(account) if encoding == "jsonParsed" else None
    if held:
        shown = _parsed(held, len(account.data), decimals_of(held.mint))
    elif encoding in ("base64", "jsonParsed"):
        shown = [base64.b64encode(data).decode(), "base64"]
    elif len(data) > LARGEST_BASE58:
        raise refusals.too_large_for_base58()
    else:
        shown = [base58(data), "base58"] if encoding else base58(data)
    return {
        "lamports": account.lamports,
        "owner": str(account.owner),
        "data": shown,
        "executable": account.executable,
        "rentEpoch": RENT_EXEMPT,
        "space": len(account.data),
    }


def _parsed(held, space, decimals):
    info = {
        "isNative": held.is_native is not None,
        "mint": str(held.mint),
        "owner": str(held.owner),
        "state": "initialized",
        "tokenAmount": token_amount(held.amount, decimals),
    }
    return {"program": "spl-token", "parsed": {"info": info, "type": "account"}, "space": space}


def version(transaction):
    return "legacy" if isinstance(transaction.message, Message) else 0


def transaction(transaction, encoding):
    if encoding in ("base64", "base58"):
        data = bytes(transaction)
        return [base64.b64encode(data).decode() if encoding == "base64" else base58(data), encoding]
    message = transaction.message
    header = message.header
    shown = {
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [_instruction(it, 1) for it in message.instructions],
    }
    if version(transaction) == 0:
        shown["addressTableLookups"] = []
    return {"signatures": [str(signature) for signature in transaction.signatures], "message": shown}


def _instruction(instruction, stack_height):
    return {
        "programIdIndex": instruction.program_id_index,
        "accounts": list(instruction.accounts),
        "data": base58(bytes(instruction.data)),
        "stackHeight": stack_height,
    }


def meta(landed, decimals_of):
    inner = [
        {"index": at, "instructions": [_instruction(it.instruction(), it.stack_height()) for it in called]}
        for at, called in enumerate(landed.meta.inner_instructions())
        if called
    ]
    return {
        "err": landed.err,
        "status": {"Err": landed.err} if landed.err else {"Ok": None},
        "fee": landed.meta.fee(),
        "preBalances": [lamports(it) for it in landed.before],
        "postBalances": [lamports(it) for it in landed.after],
        "preTokenBalances": _token_balances(landed.before, decimals_of),
        "postTokenBalances": _token_balances(landed.after, decimals_of),
        "innerInstructions": inner,
        "logMessages": landed.meta.logs(),
        "loadedAddresses": {"writable": [], "readonly": []},
        "computeUnitsConsumed": landed.meta.compute_units_consumed(),
        "rewards": [],
    }


def _token_balances(accounts, decimals_of):
    held = [(at, it, token_account(it)) for at, it in enumerate(accounts)]
    return [
        {
            "accountIndex": at,
            "mint": str(tokens.mint),
            "uiTokenAmount": token_amount(tokens.amount, decimals_of(tokens.mint)),
            "owner": str(tokens.owner),
            "programId": str(it.owner),
        }
        for at, it, tokens in held
        if tokens
    ]


# How a node words what it refuses. Others it calls by their names.
WORDS = {
    "AccountNotFound": "Attempt to debit an account but found no record of a prior credit.",
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "InsufficientFundsForFee": "Insufficient funds for fee",
    "InvalidAccountForFee": "This account may not be used to pay transaction fees",
    "ProgramAccountNotFound": "Attempt to load a program that does not exist",
}


def words(err):
    if isinstance(err, str):
        return WORDS.get(err, err)
    if "InstructionError" not in err:
        return next(iter(err))
    index, cause = err["InstructionError"]
    code = cause.get("Custom") if isinstance(cause, dict) else None
    return f"Error processing Instruction {index}: {cause if code is None else f'custom program error: {code:#x}'}"
