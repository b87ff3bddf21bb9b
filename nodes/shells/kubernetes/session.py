"""Runs commands for undrop on one node, many at once over one exec session: a node in trouble refuses new sessions.

It gets JSON lines on stdin and answers with JSON lines. When stdin ends, or nothing comes for a minute, so does all that
it started: a connection that is cut off closes nothing on the node. Only the standard library, Python 3.6 or newer.

  {"id": 1, "op": "start", "argv": ["sh", "-s"], "seconds": 30}   -> {"id": 1, "started": true}
  {"id": 1, "op": "in", "data": "text"}, {"id": 1, "op": "end"}   (its stdin)
  {"id": 1, "op": "kill"}
  {"op": "ping"}                                                  -> {"pong": true}
                      -> {"id": 1, "out": base64} {"id": 1, "err": base64} {"id": 1, "exit": 0, "late": false}
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque

SILENCE = 60

lock = threading.Lock()
runs = {}


def tell(**words):
    line = json.dumps(words) + '\n'
    with lock:
        sys.stdout.write(line)
        sys.stdout.flush()


class Run:
    def __init__(self, number, argv, seconds):
        self.number, self.late, self.over = number, False, False
        self.telling, self.moved = set(), {}
        # A session of its own, so that its children end with it.
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      start_new_session=True, bufsize=0)
        self.input, self.inputs = deque(), threading.Semaphore(0)
        self.timer = threading.Timer(seconds, self.expire)
        self.timer.daemon = True
        self.pumps = [threading.Thread(target=self.pump, args=pair, daemon=True)
                      for pair in ((self.child.stdout, 'out'), (self.child.stderr, 'err'))]

    def start(self):
        self.timer.start()
        for thread in [*self.pumps, *(threading.Thread(target=work, daemon=True) for work in (self.feed, self.reap))]:
            thread.start()

    def pump(self, stream, name):
        while True:
            chunk = stream.read(32768)
            if not chunk:
                return
            self.telling.add(name)
            tell(id=self.number, **{name: base64.b64encode(chunk).decode()})
            self.moved[name] = time.monotonic()
            self.telling.discard(name)

    def give(self, text):
        self.input.append(text)
        self.inputs.release()

    def feed(self):
        """Its stdin has a thread of its own: a command that does not read must hold up no other."""
        with contextlib.suppress(OSError):
            while True:
                self.inputs.acquire()
                text = self.input.popleft()
                if text is None:
                    break
                data = memoryview(text.encode())
                while data:
                    data = data[self.child.stdin.write(data):]
        with contextlib.suppress(OSError):
            self.child.stdin.close()

    def reap(self):
        code = self.child.wait()
        ended = time.monotonic()
        # What a command left in its background must not keep it from being over; a slow connection must not cut its output.
        for thread, name in zip(self.pumps, ('out', 'err')):
            while thread.is_alive():
                thread.join(0.05)
                if name not in self.telling and time.monotonic() - max(ended, self.moved.get(name, 0)) > 1:
                    break
        self.over = True
        self.timer.cancel()
        self.give(None)
        runs.pop(self.number, None)
        tell(id=self.number, exit=code if code >= 0 else 128 - code, late=self.late)

    def expire(self):
        self.late = True
        self.kill()

    def kill(self):
        if self.over:
            return  # its id may be somebody else's by now
        with contextlib.suppress(OSError):
            os.killpg(self.child.pid, signal.SIGKILL)


def obey(order):
    number, op = order.get('id'), order['op']
    if op == 'ping':
        tell(pong=True)
    elif op == 'start':
        try:
            runs[number] = Run(number, order['argv'], order['seconds'])
            tell(id=number, started=True)
            runs[number].start()
        except (OSError, RuntimeError) as error:
            tell(id=number, failed=str(error))
    elif number in runs:
        if op == 'kill':
            runs[number].kill()
        else:
            runs[number].give(order['data'] if op == 'in' else None)


def leave(*_):
    for run in list(runs.values()):
        run.kill()
    os._exit(0)


def main():
    signal.signal(signal.SIGALRM, leave)
    signal.alarm(SILENCE)
    for line in sys.stdin.buffer:
        signal.alarm(SILENCE)
        obey(json.loads(line.decode()))


try:
    main()
finally:
    leave()
