"""A socket that nobody reads, filled by itself until the kernel takes no more, and then kept"""

import socket
import time

SO_RCVBUFFORCE = 33

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sock.bind(('127.0.0.1', 0))
    for _ in range(6000):
        sender.sendto(b'x' * 1000, sock.getsockname())
    time.sleep(3600)
