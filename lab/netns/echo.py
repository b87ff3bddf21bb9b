"""The lab's application: answers each datagram. echo.py PORT [--rcvbuf BYTES] [--delay SECONDS]"""

import argparse
import socket
import time

args = argparse.ArgumentParser()
args.add_argument('port', type=int)
args.add_argument('--rcvbuf', type=int, default=4 << 20)
args.add_argument('--delay', type=float, default=0.0, help='time that each datagram costs the reader')
args = args.parse_args()

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, args.rcvbuf)
sock.bind(('', args.port))
while True:
    data, peer = sock.recvfrom(65536)
    if args.delay:
        time.sleep(args.delay)
    try:
        sock.sendto(data, peer)
    except OSError:
        pass  # an answer that the kernel refuses is a lost answer: exactly what the lab wants to be found
