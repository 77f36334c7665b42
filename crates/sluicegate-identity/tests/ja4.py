"""JA4 of the TLS record bytes on standard input (hexadecimal), by the words of the specification and nothing of ours."""
import hashlib
import sys

wire = bytes.fromhex(sys.stdin.read().strip())
message = b""
while wire:
    length = int.from_bytes(wire[3:5], "big")
    message += wire[5 : 5 + length]
    wire = wire[5 + length :]
at = 4


def take(count):
    global at
    at += count
    return message[at - count : at]


def number(count):
    return int.from_bytes(take(count), "big")


def grease(value):
    return value in {0x0A0A + 0x1010 * step for step in range(16)}


version = number(2)
take(32)
take(number(1))
ciphers = take(number(2))
ciphers = [int.from_bytes(ciphers[i : i + 2], "big") for i in range(0, len(ciphers), 2)]
ciphers = [cipher for cipher in ciphers if not grease(cipher)]
take(number(1))
end = number(2) + at
extensions, signatures, alpn, named = [], [], "00", "i"
while at < end:
    kind = number(2)
    content = take(number(2))
    if grease(kind):
        continue
    extensions.append(kind)
    if kind == 0:
        named = "d"
    elif kind == 16:
        first = content[3 : 3 + content[2]].decode()
        alpn = first[0] + first[-1]
    elif kind == 13:
        # "Ignore GREASE values anywhere": recent Chromium has one here too.
        pairs = [content[i : i + 2] for i in range(2, len(content), 2)]
        signatures = [pair.hex() for pair in pairs if not grease(int.from_bytes(pair, "big"))]
    elif kind == 43:
        offered = [int.from_bytes(content[i : i + 2], "big") for i in range(1, len(content), 2)]
        version = max(value for value in offered if not grease(value))
name = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10"}[version]
first = ",".join(sorted(f"{cipher:04x}" for cipher in ciphers))
second = ",".join(sorted(f"{kind:04x}" for kind in extensions if kind not in (0, 16)))
if signatures:
    second += "_" + ",".join(signatures)
short = lambda text: hashlib.sha256(text.encode()).hexdigest()[:12]
print(f"t{name}{named}{len(ciphers):02}{len(extensions):02}{alpn}_{short(first)}_{short(second)}")
