"""A client that keeps its source port: client.py ADDRESS PORT SOURCE_PORT. Ten datagrams a second, for at most an hour."""

import socket
import sys
import time

address, port, source = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(('', source))
for _ in range(36_000):
    try:
        sock.sendto(b'hello', (address, port))
    except OSError:
        pass  # a refused datagram (an ICMP error came back) is what such a client would not notice either
    time.sleep(0.1)
