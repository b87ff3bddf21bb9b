"""Sends and answers marked datagrams on one node, told by JSON lines on stdin, answering with JSON lines on stdout.

Only the standard library, Python 3.6 or newer; one file, since python3 gets it as one argument. It ends when stdin closes or after DEADLINE seconds: prober.py DEADLINE
Each datagram carries: magic, run, group, sequence number, direction; the rest is a pattern that shows damage. To a DNS
server they are queries, and run, group and number are in the name that is asked for.

  {"op": "listen", "address": "10.0.0.2"}              -> {"port": 41234}
  {"op": "send", "group": 1, "address": …, "port": …}  -> what was sent, refused and answered, per size
  {"op": "watch", "port": 514}                         -> {}: counts what comes in for somebody else's socket
  {"op": "report", "group": 1, "silent": false}        -> what the listener, or the watch, saw arrive, per size
  {"op": "meet"}                                       -> {"path": …} for the "meet" of two "send"s that must collide
"""

import array
import contextlib
import errno
import json
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter

HEADER = struct.Struct('!4s8sHIB')  # magic, run, group, sequence, direction
MAGIC = b'uDrP'
ASK, ANSWER = 0, 1
PATTERN = bytes(range(256)) * 257
IP_MTU_DISCOVER, PMTUDISC_DONT, PMTUDISC_DO = 10, 0, 2
MEETING_SECONDS = 6  # that one sender waits for the other in all
SO_RCVBUFFORCE, SO_MEMINFO, SO_ATTACH_FILTER = 33, 55, 26
SOL_PACKET, PACKET_STATISTICS = 263, 6


def datagram(run, group, sequence, size):
    head = HEADER.pack(MAGIC, run, group, sequence, ASK)
    return head + PATTERN[sequence % 256:][:max(0, size - len(head))]


def intact(data, sequence):
    return data[HEADER.size:] == PATTERN[sequence % 256:][:len(data) - HEADER.size]


def parsed(data):
    """(run, group, sequence, direction) of a datagram of ours, else None."""
    if len(data) < HEADER.size:
        return None
    magic, *fields = HEADER.unpack_from(data)
    return fields if magic == MAGIC else None


class Echo:
    """What undrop's own listener and an application that echoes are sent, and what of a run's group comes back."""

    servfail = frozenset()

    def __init__(self, run, group):
        self.run, self.group = run, group

    def datagram(self, sequence, size):
        return datagram(self.run, self.group, sequence, size)

    def answered(self, data):
        """The number of the datagram that this answers, else None."""
        mark = parsed(data)
        # A Service's application echoes our bytes as they are; undrop's own listener marks them as an answer.
        ours = mark and mark[0] == self.run and mark[1] == self.group and intact(data, mark[2])
        return mark[2] if ours else None


class Dns:
    """
    Queries for names that no cluster has, under a zone that its DNS server knows by heart: it says so from memory and asks
    nobody. The answer repeats the question, and so the mark in it.
    """

    HEAD = struct.Struct('!6H')  # id, flags, questions, answers, authorities, additional records
    A, IN, OPT, PADDING = 1, 1, 41, 12
    RECURSE, ANSWER, SERVFAIL = 0x0100, 0x8000, 2
    OPTION = 15  # bytes of an OPT record with one empty option

    def __init__(self, run, group, zone):
        self.mark = b'%s-%d' % (run.hex().encode(), group)
        # A pod's name of a Service in a namespace: the deepest kind of name that a cluster's zone has.
        self.rest = [self.mark] + ('undrop.svc.' + zone).strip('.').encode().split(b'.')
        self.servfail = set()

    def datagram(self, sequence, size):
        name = b''.join(bytes([len(label)]) + label for label in [b'%d' % sequence] + self.rest)
        question = name + b'\0' + struct.pack('!2H', self.A, self.IN)
        room = size - self.HEAD.size - len(question) - self.OPTION
        padded = room >= 0  # EDNS: what no padding fits in is as long as its name makes it
        head = self.HEAD.pack(sequence % 65536, self.RECURSE, 1, 0, 0, int(padded))
        option = struct.pack('!BHHIHHH', 0, self.OPT, 1232, 0, 4 + room, self.PADDING, room) + bytes(room) if padded else b''
        return head + question + option

    def answered(self, data):
        if len(data) < self.HEAD.size:
            return None
        number, flags, questions = self.HEAD.unpack_from(data)[:3]
        if not flags & self.ANSWER or questions != 1:
            return None
        labels, at = [], self.HEAD.size
        while at < len(data) and 0 < data[at] < 64:
            labels.append(data[at + 1:at + 1 + data[at]].lower())
            at += 1 + data[at]
        if labels[1:] != [label.lower() for label in self.rest] or not labels[0].isdigit() or len(labels[0]) > 9:
            return None
        sequence = int(labels[0])
        if sequence % 65536 != number:
            return None
        if flags & 15 == self.SERVFAIL:
            self.servfail.add(sequence)  # it came, and says that the server could not answer
            return None
        return sequence


def open_socket(address, port=0, df=False, bind=None):
    sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        enlarge(sock)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO if df else PMTUDISC_DONT)
        sock.bind((bind or ('::' if ':' in address else '0.0.0.0'), port))
    except OSError:
        sock.close()
        raise
    return sock


def enlarge(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sock.setblocking(False)


def own_drops(sock):
    """Datagrams this socket itself had no room for: undrop's own loss, which must not be blamed on the node."""
    try:
        return struct.unpack('9I', sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8]
    except (OSError, struct.error):
        return 0


def memory_errors():
    """Datagrams that udp_mem had no room for: the socket counts them too, but that is the node's loss and not undrop's."""
    try:
        with open('/proc/net/snmp') as snmp:
            names, values = [line.split() for line in snmp if line.startswith('Udp:')]
        return int(dict(zip(names, values))['MemErrors'])
    except (OSError, ValueError, KeyError):
        return 0


@contextlib.contextmanager
def hurry(turn):
    """Two senders only collide when both run at the same microsecond: each gets a CPU of its own, before other work."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {sorted(allowed)[turn % len(allowed)]})
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except OSError:
        pass  # not allowed here: then the two only wait for each other more often
    yield
    os.sched_setaffinity(0, allowed)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def place_to_meet():
    """A page without a name, which is gone with the processes that have it open, however they end."""
    try:
        page = tempfile.TemporaryFile(dir='/dev/shm')
    except OSError:
        page = tempfile.TemporaryFile()
    page.truncate(mmap.PAGESIZE)
    return page


class Meeting:
    """Two senders of one machine wait for each other before each datagram: each writes how far it is where both see it."""

    LEFT = 2 ** 63

    def __init__(self, path, turn):
        with open(path, 'r+b', buffering=0) as page:
            self.numbers = memoryview(mmap.mmap(page.fileno(), mmap.PAGESIZE)).cast('Q')
        self.mine, self.other = (0, 64) if turn == 0 else (64, 0)  # not in one cache line
        self.turn, self.patience = turn, MEETING_SECONDS
        alone = len(os.sched_getaffinity(0)) == 1  # then the other cannot come meanwhile
        if alone and (os.cpu_count() or 1) > 1:
            raise RuntimeError('this prober may use one CPU only, so the race that two CPUs run cannot be seen')
        self.spins = 1 if alone else 10_000

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.numbers[self.mine] = self.LEFT  # nobody waits for one that is done

    def wait(self, number):
        self.reach(2 * number - 1)  # both are there, if need be asleep
        self.reach(2 * number)  # both are awake
        # Their ways to where they collide are not equally long: in turn each is held back, by up to some microseconds.
        for _ in range(number % 256 if number >> 8 & 1 == self.turn else 0):
            pass

    def reach(self, stage):
        numbers, other = self.numbers, self.other
        numbers[self.mine] = stage
        while numbers[other] < stage:
            began = time.monotonic()
            for _ in range(self.spins):
                if numbers[other] >= stage:
                    return
            time.sleep(0.0002)  # what the other waits for may need this CPU
            self.patience -= time.monotonic() - began
            if self.patience < 0:
                raise RuntimeError('the two senders did not get to run at the same time')


class Arrivals:
    """Which datagrams of one run have come in, per group."""

    def __init__(self, run):
        self.run, self.arrived, self.damaged = run, {}, {}

    def keep(self, data):
        """Whether it is a whole datagram of ours."""
        mark = parsed(data)
        if not mark or mark[0] != self.run or mark[3] != ASK:
            return False
        group, sequence = mark[1], mark[2]
        if not intact(data, sequence):
            self.damaged[group] = self.damaged.get(group, 0) + 1
            return False
        self.arrived.setdefault(group, {})[sequence] = len(data)
        return True

    def report(self, group, per_port):
        arrived = dict(self.arrived.get(group, {}))
        firsts = sum(sequence % per_port == 0 for sequence in arrived)
        return {'arrived': Counter(arrived.values()), 'firsts': firsts, 'damaged': self.damaged.get(group, 0)}


class Listener(threading.Thread):
    """Receives marked datagrams of one run, counts them per group and size, answers each with its own bytes."""

    def __init__(self, run, address):
        super().__init__(daemon=True)
        self.run_id = run
        try:
            # Of a host's several addresses the one that is asked must answer: the wildcard answers from any.
            self.sock = open_socket(address, bind=address)
        except OSError:
            self.sock = open_socket(address)  # it is reached under an address that it does not have itself
        self.sock.setblocking(True)
        self.port = self.sock.getsockname()[1]
        self.arrivals = Arrivals(run)
        self.reported, self.memory = 0, memory_errors()

    def run(self):
        while True:
            data, peer = self.sock.recvfrom(65536)
            if not self.arrivals.keep(data):
                continue
            try:
                self.sock.sendto(data[:HEADER.size - 1] + bytes([ANSWER]) + data[HEADER.size:], peer)
            except OSError:
                pass  # an answer the kernel refuses is a lost answer, and is counted as one by the asking side

    def report(self, group, per_port):
        # The socket outlives the group: what earlier groups were told already is not this one's loss.
        drops = max(self.reported, own_drops(self.sock) - (memory_errors() - self.memory))
        own, self.reported = drops - self.reported, drops
        return dict(self.arrivals.report(group, per_port), ownDrops=own)


class Watcher(threading.Thread):
    """Counts marked datagrams as they come into this namespace for a port that an application has, which answers nothing."""

    def __init__(self, run, port):
        super().__init__(daemon=True)
        self.port, self.arrivals = port, Arrivals(run)
        self.sock = datagrams_to(port)
        self.sock.setblocking(True)

    def run(self):
        while True:
            self.arrivals.keep(payload_to(self.port, self.sock.recv(65536)))

    def report(self, group, per_port):
        dropped = struct.unpack('II', self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        if not listened_to(self.port):
            return {'arrived': {}, 'firsts': 0, 'damaged': 0, 'ownDrops': 0}  # it came in, and nobody took it
        return dict(self.arrivals.report(group, per_port), ownDrops=dropped)


def listened_to(port):
    """Whether a UDP socket of this namespace is bound to the port; where that cannot be read, nothing is held against it."""
    read = False
    for path in ('/proc/self/net/udp', '/proc/self/net/udp6'):
        try:
            with open(path) as table:
                next(table)
                if any(int(line.split()[1].rsplit(':', 1)[1], 16) == port for line in table):
                    return True
                read = True
        except (OSError, ValueError, StopIteration, IndexError):
            pass
    return not read


def datagrams_to(port):
    """A socket that gets copies of whole IPv4 UDP datagrams to that port, whoever has it."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    enlarge(sock)
    # ldb [9], jeq 17, ldh [6], jset 0x1fff, ldxb 4*([0]&15), ldh [x+2], jeq port.
    steps = ((0x30, 0, 0, 9), (0x15, 0, 6, 17), (0x28, 0, 0, 6), (0x45, 4, 0, 0x1FFF), (0xB1, 0, 0, 0), (0x48, 0, 0, 2),
             (0x15, 0, 1, port), (0x06, 0, 0, 65535), (0x06, 0, 0, 0))
    program = array.array('B', b''.join(struct.pack('HBBI', *step) for step in steps))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack('HP', len(steps), program.buffer_info()[0]))
    return sock


def payload_to(port, data):
    """Of a packet to that port. Its source may not be translated back yet; some may have come before the filter."""
    start = (data[0] & 15) * 4
    if len(data) < start + 8 or data[9] != socket.IPPROTO_UDP:
        return b''
    there, length = struct.unpack_from('!HH', data, start + 2)
    return data[start + 8:start + length] if there == port else b''


class Software:
    """Sends UDP with a checksum computed here, through a raw socket: the same datagram without any offload (IPv4)."""

    def __init__(self, address, port, source_port, source=None):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))
            self.source = source or probe.getsockname()[0]
        self.address, self.port, self.source_port = address, port, source_port
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, data):
        ends = socket.inet_aton(self.source) + socket.inet_aton(self.address)
        length = 8 + len(data)
        head = struct.pack('!HHHH', self.source_port, self.port, length, 0)
        text = ends + struct.pack('!BBH', 0, socket.IPPROTO_UDP, length) + head + data + b'\0' * (length % 2)
        total = sum(struct.unpack('!%dH' % (len(text) // 2), text))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        checksum = ~total & 0xFFFF or 0xFFFF
        udp = struct.pack('!HHHH', self.source_port, self.port, length, checksum) + data
        ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0, ends[:4], ends[4:])
        self.sock.sendto(ip + udp, (self.address, 0))


class Tuple:
    """Watches for answers to datagrams sent with the source port of somebody else's flow, which we cannot bind."""

    def __init__(self, port):
        self.port = port
        self.sock = datagrams_to(port)
        self.icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.icmp.setblocking(False)

    def refuses(self, data):
        """
        Whether an ICMP packet refuses a datagram from that port: port unreachable, and the datagram's headers. That a host
        is not reached is what the dead end of a stale flow says, now and then.
        """
        inner = (data[0] & 15) * 4 + 8
        if len(data) < inner + 20 or data[inner - 8:inner - 6] != b'\x03\x03' or data[inner + 9] != socket.IPPROTO_UDP:
            return False
        ports = inner + (data[inner] & 15) * 4
        return len(data) >= ports + 2 and struct.unpack_from('!H', data, ports)[0] == self.port


class Sender:
    """Sends one group of datagrams and collects its answers."""

    def __init__(self, run, order):
        self.run, self.order = run, order
        self.sent, self.refused, self.answers, self.firsts = {}, {}, {}, 0
        self.strange = set()
        group = order['group']
        self.words = Dns(run, group, order['zone']) if 'zone' in order else Echo(run, group)
        self.poll = select.poll()
        self.poll.register(sys.stdin, 0)  # reports only that whoever gives the orders is gone
        self.socks, self.tuple, self.refusals = {}, None, 0

    def keep(self, sock):
        self.socks[sock.fileno()] = sock
        self.poll.register(sock, select.POLLIN)
        return sock

    def drain(self, timeout_ms):
        for fd, _ in self.poll.poll(timeout_ms):
            if fd == sys.stdin.fileno():
                os._exit(4)  # nobody is left who wants the answers, so nothing more is sent
            for _ in range(4096):  # a socket that fills as fast as it is read must not hold up the sending
                try:
                    data, peer = self.socks[fd].recvfrom(65536)
                except OSError:
                    break
                if self.tuple and fd == self.tuple.icmp.fileno():
                    self.refusals += self.tuple.refuses(data)
                    continue
                if self.tuple:
                    data = payload_to(self.tuple.port, data)
                sequence = self.words.answered(data)
                if sequence is None:
                    continue
                if not self.tuple and peer[0] != self.order['address']:
                    self.strange.add(sequence)
                else:
                    sizes = self.order['sizes']  # an answer need not be as long as what it answers
                    self.answers[sequence] = sizes[sequence % len(sizes)]

    def transport(self):
        """A function that makes a socket ready for one datagram, of a fresh port or the same, and gives what sends on it."""
        order = self.order
        there, df, source = (order['address'], order['port']), order.get('df', False), order.get('source', 'fresh')

        def on(port):
            sock = self.keep(open_socket(order['address'], port, df))
            return lambda data: sock.sendto(data, there)

        if order.get('tuple'):
            self.tuple = Tuple(order['tuple']['port'])
            self.keep(self.tuple.sock)
            self.keep(self.tuple.icmp)
            raw = Software(*there, source_port=order['tuple']['port'], source=order['tuple']['address'])
            return lambda: raw.send
        if order.get('checksum') == 'software':
            sock = self.keep(open_socket(order['address']))
            raw = Software(*there, source_port=sock.getsockname()[1])
            return lambda: raw.send
        if source == 'fresh':
            return several(lambda: on(0), order.get('perPort', 1))
        if source == 'sequence':
            ports = iter(range(order['firstPort'], 65536))
            return lambda: on(next(ports))
        send = on(0)
        return lambda: send

    def send_all(self, ready, gap, meeting):
        order, sequence, start = self.order, 0, time.monotonic()
        for _ in range(order['count']):
            for size in order['sizes']:
                while gap:
                    wait = start + sequence * gap - time.monotonic()
                    if wait <= 0:
                        break
                    time.sleep(wait)
                try:
                    send, data = ready(), self.words.datagram(sequence, size)
                    if meeting:
                        meeting.wait(sequence + 1)  # nothing may come between this and the sending
                    send(data)
                    self.sent[size] = self.sent.get(size, 0) + 1
                    self.firsts += sequence % order.get('perPort', 1) == 0
                except OSError as error:
                    name = errno.errorcode.get(error.errno, str(error.errno))
                    self.refused.setdefault(name, {}).setdefault(size, 0)
                    self.refused[name][size] += 1
                sequence += 1
                if sequence % 16 == 0 and not meeting:
                    self.drain(0)

    def go(self):
        order = self.order
        memory = memory_errors()
        ready = self.transport()
        gap = 1.0 / order['rate'] if order.get('rate') else 0
        with contextlib.ExitStack() as stack:
            meeting = None
            if order.get('meet'):
                meeting = stack.enter_context(Meeting(order['meet'], order['turn']))
                stack.enter_context(hurry(order['turn']))
            self.send_all(ready, gap, meeting)
        end = time.monotonic() + order['waitMs'] / 1000
        total = sum(self.sent.values())
        while time.monotonic() < end and len(self.answers) < total:
            self.drain(int(max(1, min(50, (end - time.monotonic()) * 1000))))
        answered = Counter(self.answers.values())
        drops = max(0, sum(own_drops(sock) for sock in self.socks.values()) - (memory_errors() - memory))
        for sock in self.socks.values():
            sock.close()
        for size in list(self.sent) if self.refusals else []:
            # The kernel told the flow's own socket and not ours; that it tells at most a few a second is no silence either.
            told = min(self.refusals, self.sent[size])
            self.refusals -= told
            self.sent[size] -= told
            self.refused.setdefault('ECONNREFUSED', {})[size] = told
        strange = len(self.strange - set(self.answers))
        servfail = len(self.words.servfail - set(self.answers))
        return {'sent': self.sent, 'refused': self.refused, 'answered': answered, 'strange': strange, 'ownDrops': drops,
                'servfail': servfail, 'firsts': self.firsts}


def several(make, times):
    """A function that makes anew only what so many calls were given."""
    left, made = 0, None

    def get():
        nonlocal left, made
        if left == 0:
            left, made = times, make()
        left -= 1
        return made
    return get


def main():
    signal.signal(signal.SIGALRM, lambda *_: os._exit(3))
    signal.alarm(int(sys.argv[1]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
    except (OSError, ValueError):
        pass  # fewer fresh ports at once; the kernel says so per datagram (EMFILE), and those were never sent
    listener = watcher = None
    for line in iter(sys.stdin.readline, ''):
        order = json.loads(line)
        run = bytes.fromhex(order['run'])
        try:
            if order['op'] == 'listen':
                listener = Listener(run, order['address'])
                listener.start()
                answer = {'port': listener.port}
            elif order['op'] == 'send':
                answer = Sender(run, order).go()
            elif order['op'] == 'watch':
                if not watcher:
                    watcher = Watcher(run, order['port'])
                    watcher.start()
                answer = {}
            elif order['op'] == 'meet':
                page = place_to_meet()  # stays open, since the path leads through this process
                answer = {'path': '/proc/%d/fd/%d' % (os.getpid(), page.fileno())}
            else:
                answer = (watcher if order.get('silent') else listener).report(order['group'], order.get('perPort', 1))
        except Exception as error:  # the caller gets the reason; the process goes on for the next order
            answer = {'error': '%s: %s' % (type(error).__name__, error)}
        sys.stdout.write(json.dumps(answer) + '\n')
        sys.stdout.flush()


main()
