"""Sends frames that no honest machine sends; needs root and nothing but Python's own library.

packets.py INTERFACE KIND,ETH_SRC,ETH_DST,IP_SRC,IP_DST...

ETH_SRC `own` is the interface's own address. Each frame is sent three times.
"""
import fcntl
import socket
import struct
import sys

FLAGS = {"syn": 0x02, "synack": 0x12, "ack": 0x10, "rst": 0x04}
PORT, SENDER = 80, 40000


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, target, protocol, payload):
    def head(check):
        fields = (0x45, 0, 20 + len(payload), 1, 0, 64, protocol, check, source, target)
        return struct.pack("!BBHHHBBH4s4s", *fields)

    return head(checksum(head(0))) + payload


def tcp(source, target, flags):
    def head(check):
        return struct.pack("!HHIIBBHHH", SENDER, PORT, 7, 7, 0x50, flags, 8192, check, 0)

    return head(checksum(source + target + struct.pack("!BBH", 0, 6, 20) + head(0)))


def icmp(kind):
    def head(check):
        return struct.pack("!BBHHH", kind, 0, check, 7, 1)

    return head(checksum(head(0)))


def frame(kind, eth_source, eth_target, source, target):
    def ethernet(protocol, payload):
        return eth_target + eth_source + struct.pack("!H", protocol) + payload

    if kind in FLAGS:
        return ethernet(0x0800, ipv4(source, target, 6, tcp(source, target, FLAGS[kind])))
    if kind in ("echo", "echo-reply"):
        return ethernet(0x0800, ipv4(source, target, 1, icmp(8 if kind == "echo" else 0)))
    udp = ipv4(source, target, 17, struct.pack("!HHHH", SENDER, PORT, 12, 0) + b"spy!")
    if kind == "udp":
        return ethernet(0x0800, udp)
    if kind == "tagged":
        return ethernet(0x8100, struct.pack("!HH", 1, 0x0800) + udp)
    if kind == "ipv6":
        # To all nodes of the link, from a link-local address.
        to_all = bytes.fromhex("ff02" + "00" * 13 + "01")
        from_one = bytes.fromhex("fe80" + "00" * 13 + "99")
        return ethernet(0x86DD, struct.pack("!IHBB", 6 << 28, 0, 59, 64) + from_one + to_all)
    operation = {"arp-request": 1, "arp-reply": 2}[kind]
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return ethernet(0x0806, arp + eth_source + source + eth_target + target)


def own_address(interface):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        request = struct.pack("256s", interface.encode())
        return fcntl.ioctl(asked, 0x8927, request)[18:24]


def mac(text, interface):
    return own_address(interface) if text == "own" else bytes.fromhex(text.replace(":", ""))


def main(interface, *frames):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        for text in frames:
            kind, eth_source, eth_target, source, target = text.split(",")
            macs = mac(eth_source, interface), mac(eth_target, interface)
            addresses = socket.inet_aton(source), socket.inet_aton(target)
            for _ in range(3):
                raw.send(frame(kind, *macs, *addresses))
    print("sent", len(frames))


main(*sys.argv[1:])
