"""A wire that copies frames between two devices without finishing their checksums.

A frame whose transmit checksum is left to the hardware carries only a partial one. A real card completes it. This wire
does so only for frames from RIGHT, like a card on the LEFT whose offload is broken, so that the receiver on the right
sees a bad checksum. wire.py [--corrupt | --hurting FILE] LEFT RIGHT
--corrupt completes both ways and damages the last byte of each UDP datagram: real corruption, whatever the offloads.
--hurting is a card on the LEFT that completes every other datagram, and sends none while FILE exists.
"""

import argparse
import os
import select
import socket
import struct

ETH_P_ALL = 3
PACKET_OUTGOING = 4

args = argparse.ArgumentParser()
args.add_argument('--corrupt', action='store_true')
args.add_argument('--hurting')
args.add_argument('left')
args.add_argument('right')
args = args.parse_args()


def opened(device):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((device, 0))
    return sock


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data[:len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def finished(frame, start=14):
    """Completes the UDP checksum of the IPv4 packet at `start`, inside a VXLAN tunnel that of the inner packet."""
    if frame[start - 2:start] != b'\x08\x00' or frame[start + 9] != socket.IPPROTO_UDP:
        return frame
    udp = start + (frame[start] & 15) * 4
    fragment, = struct.unpack_from('!H', frame, start + 6)
    if fragment & 0x3FFF:
        return frame  # a fragment's checksum is never left to hardware
    _, port, length, sum_now = struct.unpack_from('!HHHH', frame, udp)
    if port == 8472:
        return finished(frame, udp + 8 + 8 + 14)
    if sum_now == 0:
        return frame
    pseudo = frame[start + 12:start + 20] + struct.pack('!BBH', 0, socket.IPPROTO_UDP, length)
    blank = frame[udp:udp + 6] + b'\0\0' + frame[udp + 8:udp + length]
    return frame[:udp + 6] + struct.pack('!H', checksum(pseudo + blank) or 0xFFFF) + frame[udp + 8:]


def damaged(frame):
    is_udp = frame[12:14] == b'\x08\x00' and frame[23] == socket.IPPROTO_UDP and len(frame) > 46
    return frame[:-1] + bytes([frame[-1] ^ 0xFF]) if is_udp else frame


seen = 0


def hurt(frame):
    """Nothing while the file exists; else every other datagram is completed."""
    global seen
    whole = finished(frame)
    if frame[12:14] == b'\x08\x00' and os.path.exists(args.hurting):
        return None
    if whole == frame:
        return frame
    seen += 1
    return whole if seen % 2 else frame


left, right = opened(args.left), opened(args.right)
other = {left: right, right: left}
while True:
    for sock in select.select([left, right], [], [])[0]:
        frame, address = sock.recvfrom(70000)
        if address[2] == PACKET_OUTGOING:
            continue
        try:
            if args.corrupt:
                frame = damaged(finished(frame))
            elif sock is right:
                frame = finished(frame)
            elif args.hurting:
                frame = hurt(frame)
            if frame is None:
                continue
            other[sock].send(frame)
        except OSError:
            pass  # a frame that does not fit is lost, as on a real wire
