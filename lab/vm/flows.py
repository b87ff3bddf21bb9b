"""Long-lived flows to an echo server, each with a source port of its own: flows.py ADDRESS PORT COUNT. For at most an hour."""

import resource
import select
import socket
import sys
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

poll = select.poll()
socks = {}
for index in range(count):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Below the range from which the kernel gives ports to others.
    sock.bind(('', 20_000 + index))
    sock.connect((address, port))
    sock.setblocking(False)
    socks[sock.fileno()] = sock
    poll.register(sock, select.POLLIN)


def drain():
    """Answers must be read: a full buffer would be a loss of this client's own making."""
    for fd, _ in poll.poll(0):
        try:
            while True:
                socks[fd].recv(64)
        except OSError:
            pass


started = time.time()
while time.time() - started < 3600:
    for index, sock in enumerate(socks.values()):
        try:
            sock.send(b'hello')
        except OSError:
            pass  # refused by an ICMP error that came before
        if index % 16 == 0:
            drain()
            time.sleep(0.01)
    # The kernel takes a flow for important, and never evicts it, when it is still answered after two seconds.
    end = time.time() + (2.2 if time.time() - started < 10 else 20)
    while time.time() < end:
        time.sleep(0.1)
        drain()
