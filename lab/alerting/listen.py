"""Opens a port of this network namespace and hands it to a command, the way systemd does: listen.py PORT COMMAND…

A socket stays in the namespace where it was made. So a node exporter that is moved into a lab node's namespace, to read
that node's counters, can still be asked from here, and the lab needs no network to the outside.
"""

import os
import socket
import sys

FIRST = 3  # where the protocol of systemd's socket activation expects the first socket
sock = socket.create_server(('127.0.0.1', int(sys.argv[1])))
os.dup2(sock.fileno(), FIRST)
os.set_inheritable(FIRST, True)  # dup2 does that too, but not where it is the same number already
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))  # the command keeps the process id through each exec
os.execvp(sys.argv[2], sys.argv[2:])
