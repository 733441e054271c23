"""A Solana node for tests: JSON-RPC on loopback over a real virtual machine (LiteSVM, of the package `solders`).

    python tests/nodes/svm --port 8899 [--slot-ms 400] [--finality 32] [--genesis HASH]

Programs, fees, logs and errors are the machine's. Blocks, commitment, forks and the node's lag are simulated: nobody
votes, and there is no WebSocket. `ledger.py` is the chain, `methods.py` what a node can be asked, `levers.py` what
only a test may do.
"""

import argparse
import inspect
import json
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import refusals
from ledger import Ledger
from levers import Levers

LARGEST_BODY = 50 * 1024
LOCALNET = "BY3ZFEfTWzXJG9aZHsR8XbQYmRMQMEcGwmAH2hPYF9cX"


class Node:
    """Answers one call after the other."""

    def __init__(self, methods):
        self.methods = methods
        self.lock = threading.Lock()

    def answer(self, body):
        try:
            calls = json.loads(body)
        except ValueError:
            return _refused(None, refusals.parse_error())
        if not isinstance(calls, list):
            return self._one(calls)
        if not calls:
            return _refused(None, refusals.invalid_request())
        return [answer for answer in map(self._one, calls) if answer]

    def tick(self, seconds):
        while True:
            time.sleep(seconds)
            with self.lock:
                self.methods.ledger.grow()

    def _one(self, call):
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            return _refused(None, refusals.invalid_request())
        if call.get("jsonrpc") != "2.0":
            return _refused(call.get("id"), refusals.invalid_request("Unsupported JSON-RPC protocol version"))
        try:
            result = self._result(call["method"], call.get("params") or [])
        except refusals.Refusal as refusal:
            return _refused(call.get("id"), refusal)
        except Exception:
            traceback.print_exc()
            return _refused(call.get("id"), refusals.Refusal(-32603, "Internal error"))
        # Who gives no id wants no answer.
        return {"jsonrpc": "2.0", "result": result, "id": call["id"]} if "id" in call else None

    def _result(self, name, params):
        method = None if name.startswith("_") else getattr(self.methods, name, None)
        if not callable(method):
            raise refusals.unknown_method()
        if not isinstance(params, list):
            raise refusals.invalid_params("Invalid params: invalid type: map, expected a tuple.")
        known = inspect.signature(method).parameters.values()
        least = sum(parameter.default is parameter.empty for parameter in known)
        if len(params) < least:
            raise refusals.invalid_params(f"`params` should have at least {least} argument(s)")
        if len(params) > len(known):
            raise refusals.invalid_params(f"Expected from {least} to {len(known)} parameters.")
        with self.lock:
            return method(*params)


def _refused(call, refusal):
    return {"jsonrpc": "2.0", "error": refusal.answer, "id": call}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One packet for each answer, and no waiting for a second one.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        self._respond(405, "text/plain", b"Used HTTP Method is not allowed. POST or OPTIONS is required\n")

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            self.close_connection = True
            return self._respond(413, "text/plain", b"Payload too large\n")
        body = self.rfile.read(length)
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            return self._respond(415, "text/plain", b"Supplied content type is not allowed.\n")
        answer = self.server.node.answer(body)
        self._respond(200, "application/json", json.dumps(answer).encode() if answer else b"")

    def _respond(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, address):
        """A client that goes before its answer is no news."""


def main():
    options = argparse.ArgumentParser(description="A Solana node for tests")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--slot-ms", type=int, default=400, help="0: only svm_advance makes blocks")
    options.add_argument("--finality", type=int, default=32, help="blocks upon one that make it final")
    options.add_argument("--genesis", default=LOCALNET, help="what getGenesisHash answers")
    options = options.parse_args()

    node = Node(Levers(Ledger(options.finality), options.genesis))
    server = Server(("127.0.0.1", options.port), Handler)
    server.node = node
    if options.slot_ms:
        threading.Thread(target=node.tick, args=(options.slot_ms / 1000,), daemon=True).start()
    print(f"listening on 127.0.0.1:{options.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
