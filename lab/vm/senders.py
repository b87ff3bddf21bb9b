"""One datagram from each of COUNT source ports, as if from as many clients: senders.py SOURCE ADDRESS PORT COUNT"""

import socket
import struct
import sys
import time

source, address, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
# Raw, since so many sockets would exceed what a process may open. Checksum 0 means none.
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
sock.bind((source, 0))
for index in range(count):
    try:
        sock.sendto(struct.pack('!HHHH', 1024 + index, port, 8, 0), (address, 0))
    except OSError:
        pass  # the queue is full: one flow less
    if index % 32 == 31:
        time.sleep(0.006)
