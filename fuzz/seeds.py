#!/usr/bin/env python3
"""Fills fuzz/corpus/TARGET/ for the fuzz targets: from the captures in fixtures/, and from the seeds that were kept,
fuzz/seeds/TARGET. `fuzz/seeds.py keep TARGET FOLDER` keeps the inputs in a folder, such as `cargo fuzz cmin` leaves them:
one file holds them all, each behind its length in four bytes, little-endian."""

import hashlib
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent
ETHERNET = 1
LARGEST = 16 * 1024


def save(target, data):
    folder = ROOT / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def records(capture):
    """Link type, then seconds and bytes of each packet of a little-endian pcap file."""
    link = struct.unpack_from("<I", capture, 20)[0] & 0xFFFF
    at, packets = 24, []
    while at + 16 <= len(capture):
        seconds, _, captured, _ = struct.unpack_from("<IIII", capture, at)
        packets.append((seconds, capture[at + 16 : at + 16 + captured]))
        at += 16 + captured
    return link, packets


def tcp(frame):
    """Both ends and the payload of a TCP segment in plain IPv4 over Ethernet, or None."""
    if frame[12:15] != b"\x08\x00\x45" or frame[23] != 6 or len(frame) < 54:
        return None
    end = 14 + struct.unpack_from(">H", frame, 16)[0]
    src, dst = struct.unpack_from(">HH", frame, 34)
    return (frame[26:30], src), (frame[30:34], dst), frame[34 + (frame[46] >> 4) * 4 : end]


def pcapng(link, packets):
    out = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    out += struct.pack("<IIHHII", 1, 20, link, 0, 0, 20)
    for seconds, data in packets:
        padded = data + bytes(-len(data) % 4)
        ticks, length = seconds * 1_000_000, 32 + len(padded)
        head = struct.pack("<7I", 6, length, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        out += head + padded + struct.pack("<I", length)
    return out


def snoop(packets):
    out = b"snoop\0\0\0" + struct.pack(">II", 2, 4)
    for seconds, data in packets:
        padded = data + bytes(-len(data) % 4)
        out += struct.pack(">6I", len(data), len(data), 24 + len(padded), 0, seconds, 0) + padded
    return out


def screenos(packets):
    out = "fw-> get db stream\n"
    for seconds, data in packets:
        out += f"{seconds % 100000:05}.0: ethernet0/0(i) len={len(data)}:020000000001->020000000002/0800\n"
        out += "".join(f"              {data[i : i + 16].hex(' ')}\n" for i in range(0, len(data), 16)) + "\n"
    return out.encode()


def keep(target, folder):
    inputs = sorted(path.read_bytes() for path in pathlib.Path(folder).iterdir())
    (ROOT / "seeds").mkdir(exist_ok=True)
    (ROOT / "seeds" / target).write_bytes(b"".join(struct.pack("<I", len(data)) + data for data in inputs))


def kept():
    for path in (ROOT / "seeds").iterdir():
        rest = path.read_bytes()
        while rest:
            (length,) = struct.unpack_from("<I", rest)
            save(path.name, rest[4 : 4 + length])
            rest = rest[4 + length :]


def main():
    if sys.argv[1:2] == ["keep"]:
        return keep(*sys.argv[2:])
    kept()
    for path in sorted((ROOT.parent / "fixtures").glob("*/capture.pcap")):
        capture = path.read_bytes()
        if not capture.startswith(b"\xd4\xc3\xb2\xa1"):
            continue
        link, packets = records(capture)
        few = packets[:6]
        save("files", capture[: 24 + sum(16 + len(data) for _, data in few)])
        save("report", capture[:LARGEST])
        save("files", pcapng(link, few))
        if link == ETHERNET:
            save("files", snoop(few))
            save("files", screenos(few))
        for _, data in few[:3]:
            save("decode", struct.pack(">HB", link, 0) + data)
        flows, segments, before = {}, b"", None
        for seconds, data in packets:
            if link != ETHERNET or not (segment := tcp(data)):
                continue
            src, dst, payload = segment
            key = (min(src, dst), max(src, dst))
            first, last, pieces = flows.setdefault(key, (src, seconds, bytearray()))
            waited = min(seconds - last, 63)
            flows[key] = (first, seconds, pieces)
            side = int(src != first)
            # An analyzer's segment in its own terms: in order, the wait as a power of two of microseconds.
            wait = min(((seconds - (before or seconds)) * 1_000_000 or 1000).bit_length(), 31)
            segments += bytes([side << 2, data[47], 0, 0, 0, 0, data[48], data[49], min(len(payload), 255), 0, wait, 65])
            before = seconds
            if payload:
                pieces += struct.pack(">BH", side | waited << 2, len(payload)) + payload
        if segments:
            save("analyzer", segments[:1200])
        for (src, dst), (first, _, pieces) in flows.items():
            other = dst if first == src else src
            if pieces:
                save("protocols", struct.pack(">BHH", 0, first[1], other[1]) + pieces[:LARGEST])
    for order in ([0, 1, 2], [2, 0, 1], [1, 1, 2]):
        for v6 in (0, 1):
            pieces = [bytes([v6 | (2 if n < 2 else 0), 1, 0, n * 3, 24, 0, 0x50]) for n in order]
            save("fragments", b"".join(pieces))


if __name__ == "__main__":
    main()
