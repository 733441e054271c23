"""What a node refuses, with the codes and words of a real one."""


class Refusal(Exception):
    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.answer = {"code": code, "message": message} | ({"data": data} if data is not None else {})


def parse_error():
    return Refusal(-32700, "Parse error")


def invalid_request(message="Invalid request"):
    return Refusal(-32600, message)


def too_large_for_base58():
    return invalid_request(
        "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding."
    )


def unknown_method():
    return Refusal(-32601, "Method not found")


def invalid_params(message):
    return Refusal(-32602, message)


def preflight(words, result):
    return Refusal(-32002, f"Transaction simulation failed: {words}", result)


def bad_signature():
    return Refusal(-32003, "Transaction signature verification failure")


def block_not_available(slot):
    return Refusal(-32004, f"Block not available for slot {slot}")


def behind(slots):
    return Refusal(-32005, f"Node is behind by {slots} slots", {"numSlotsBehind": slots})


def slot_skipped(slot):
    return Refusal(-32007, f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot")


def unsupported_version(version):
    return Refusal(
        -32015,
        f"Transaction version ({version}) is not supported by the requesting client. Please try the request again with "
        f'the following configuration parameter: "maxSupportedTransactionVersion": {version}',
    )


def too_early(slot):
    return Refusal(-32016, "Minimum context slot has not been reached", {"contextSlot": slot})
