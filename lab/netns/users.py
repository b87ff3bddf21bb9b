"""Users' traffic: users.py ADDRESS PORT [--rate N] [--ports N] [--equal]. Asks and takes answers, for ten minutes at most."""

import argparse
import socket
import time

args = argparse.ArgumentParser()
args.add_argument('address')
args.add_argument('port', type=int)
args.add_argument('--rate', type=float, default=200.0)
args.add_argument('--ports', type=int, default=5, help='so many flows, each of which keeps its source port')
args.add_argument('--equal', action='store_true', help='all datagrams carry the same bytes')
args.add_argument('--size', type=int, default=40)
args = args.parse_args()

socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(args.ports)]
for sock in socks:
    sock.connect((args.address, args.port))
    sock.setblocking(False)
start = time.monotonic()
number = 0
while time.monotonic() < start + 600:
    time.sleep(max(0.0, start + number / args.rate - time.monotonic()))
    sock = socks[number % len(socks)]
    text = b'the same' if args.equal else b'user %d' % number
    try:
        sock.send(text.ljust(args.size, b'.'))
        while True:
            sock.recv(65536)
    except OSError:
        pass  # nothing to take, or an answer that says no: such users send on
    number += 1
