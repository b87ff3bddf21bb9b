"""Pairs of datagrams from one new socket by two threads at once, like a resolver's: race.py ADDRESS PORT. Ten minutes."""

import socket
import sys
import threading
import time

there = (sys.argv[1], int(sys.argv[2]))
end = time.time() + 600
while time.time() < end:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        gate = threading.Barrier(2)

        def one():
            gate.wait()
            sock.sendto(b'query', there)

        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    time.sleep(0.005)
