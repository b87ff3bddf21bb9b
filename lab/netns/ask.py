"""Asks an echo server once: ask.py ADDRESS PORT. Exit status 0 when it answers within half a second."""

import socket
import sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(0.5)
    sock.sendto(b'are you there?', (sys.argv[1], int(sys.argv[2])))
    try:
        sock.recv(64)
    except OSError:
        sys.exit(1)
