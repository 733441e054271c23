"""What only a test may do, by methods that begin with `svm_`: time, forks, lag, wallets, tokens, signatures."""

import base64
import hashlib

from solders.account import Account
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.token.associated import get_associated_token_address
from solders.token.state import Mint, TokenAccount, TokenAccountState
from solders.transaction import VersionedTransaction

import refusals
import shapes
from ledger import SYSTEM
from methods import Methods

TRANSFER_CHECKED = 12
PLENTY = 10**18


def keypair(name):
    """The same for the same name, on every node."""
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


class Levers(Methods):
    def __init__(self, ledger, genesis):
        super().__init__(ledger, genesis)
        self.airdrops = 0
        ledger.write(keypair("faucet").pubkey(), Account(PLENTY, b"", SYSTEM))

    def requestAirdrop(self, address, lamports, config=None):
        """An ordinary transfer. Two of the same amount in one block would have the same signature without a number."""
        self.airdrops += 1
        faucet = keypair("faucet")
        params = TransferParams(from_pubkey=faucet.pubkey(), to_pubkey=Pubkey.from_string(address), lamports=lamports)
        signed = self._signed([set_compute_unit_limit(100_000 + self.airdrops), transfer(params)], faucet, {})
        self.ledger.land(signed)
        return str(signed.signatures[0])

    def svm_advance(self, blocks):
        self.ledger.grow(blocks)
        return self.ledger.slot

    def svm_fork(self, depth):
        if not 0 < depth < min(self.ledger.depths["finalized"] + 1, len(self.ledger.blocks)):
            raise refusals.invalid_params("what is final does not change")
        self.ledger.fork(depth)
        return self.ledger.slot

    def svm_setLag(self, blocks):
        self.ledger.lag = blocks

    def svm_setPrioritizationFees(self, prices):
        """What everybody paid in the newest blocks, the newest last."""
        for block, price in zip(reversed(self.ledger.blocks), reversed(prices)):
            block.price = price

    def svm_wallet(self, name):
        return str(keypair(name).pubkey())

    def svm_mintTo(self, name, owner, amount, decimals):
        """Gives somebody tokens of the mint by this name, which is made when it is first asked for."""
        mint, owner = keypair(name).pubkey(), Pubkey.from_string(owner)
        made = shapes.mint(self.ledger.svm.get_account(mint)) or Mint(keypair(name).pubkey(), 0, decimals, True)
        self._write(mint, Mint(made.mint_authority, made.supply + amount, made.decimals, True))
        address = get_associated_token_address(owner, mint)
        held = shapes.token_account(self.ledger.svm.get_account(address))
        amount += held.amount if held else 0
        self._write(address, TokenAccount(mint, owner, amount, None, TokenAccountState.Initialized, None, 0))
        return {"mint": str(mint), "account": str(address)}

    def svm_signTransfer(self, wish):
        """A transfer by a wallet, ready to be sent: `from` (a name), `to`, `amount`, and maybe `mint`, `price`,
        `blockhash`, `version`."""
        payer, to = keypair(wish["from"]), Pubkey.from_string(wish["to"])
        if "mint" in wish:
            moved = self._token_transfer(payer.pubkey(), to, Pubkey.from_string(wish["mint"]), wish["amount"])
        else:
            moved = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=wish["amount"]))
        priority = [set_compute_unit_price(wish["price"])] if "price" in wish else []
        signed = self._signed([*priority, moved], payer, wish)
        return {
            "signature": str(signed.signatures[0]),
            "transaction": base64.b64encode(bytes(signed)).decode(),
            "message": base64.b64encode(to_bytes_versioned(signed.message)).decode(),
        }

    def _signed(self, instructions, payer, wish):
        blockhash = Hash.from_string(wish.get("blockhash") or self.ledger.blocks[-1].hash)
        if wish.get("version") == 0:
            message = MessageV0.try_compile(payer.pubkey(), instructions, [], blockhash)
        else:
            message = Message.new_with_blockhash(instructions, payer.pubkey(), blockhash)
        return VersionedTransaction(message, [payer])

    def _token_transfer(self, owner, to, mint, amount):
        decimals = shapes.mint(self.ledger.svm.get_account(mint)).decimals
        source, target = (get_associated_token_address(it, mint) for it in (owner, to))
        accounts = [
            AccountMeta(source, is_signer=False, is_writable=True),
            AccountMeta(mint, is_signer=False, is_writable=False),
            AccountMeta(target, is_signer=False, is_writable=True),
            AccountMeta(owner, is_signer=True, is_writable=False),
        ]
        data = bytes([TRANSFER_CHECKED, *amount.to_bytes(8, "little"), decimals])
        return Instruction(shapes.TOKEN, data, accounts)

    def _write(self, key, state):
        data = bytes(state)
        rent = self.ledger.svm.minimum_balance_for_rent_exemption(len(data))
        self.ledger.write(key, Account(rent, data, shapes.TOKEN))
