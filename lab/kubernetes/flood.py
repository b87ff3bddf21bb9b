"""Sends DNS queries without waiting for answers; other applications may echo them: flood.py ADDRESS PORT QUERIES-A-SECOND SECONDS"""

import socket
import struct
import sys
import time

address, (port, rate, seconds) = sys.argv[1], map(int, sys.argv[2:])
# Many source ports, so that a Service spreads them over its endpoints.
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(64)]
name = b''.join(bytes([len(label)]) + label for label in b'echo.shop.svc.cluster.local'.split(b'.')) + b'\0'
start = time.monotonic()
for number in range(rate * seconds):
    time.sleep(max(0, start + number / rate - time.monotonic()))
    query = struct.pack('!6H', number % 65536, 0x0100, 1, 0, 0, 0) + name + struct.pack('!2H', 1, 1)
    socks[number % len(socks)].sendto(query, (address, port))
