"""Watches the datagrams of some servers in one network namespace and sends nothing. Its first line of stdin is its order.

Only the standard library, Python 3.6 or newer; one file, since python3 gets it as one argument. Of each datagram it keeps
its flow and 8 bytes of a keyed hash of its payload, never the payload. It ends when stdin closes or its time is over.

  order: {"key": hex, "end": "client" | "server", "servers": [[address, port or 0], ...], "most": datagrams, "seconds": n}
  says   {"ready": true}
  "mark" -> {"mark": n}   what comes from now on belongs to part n: 0, 1, 2 ...
  "stop" -> what was seen, and ends
"""

import array
import base64
import ctypes
import hashlib
import json
import os
import select
import signal
import socket
import struct
import sys

SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA, PACKET_VNET_HDR = 263, 6, 8, 15
SO_ATTACH_FILTER, SO_RCVBUFFORCE, ETH_P_ALL, LOOPBACK = 26, 33, 3, 772
OUTGOING, HOST = 4, 0
VNET = struct.Struct('=BBHHHH')  # flags, gso type, header length, gso size, checksum start and offset
GSO_UDP = 5
HASHED = 512  # what the first fragment of a datagram surely holds: so a datagram is the same in one piece or in several
NET = 0xFFF00000  # SKF_NET_OFF: an offset from the network header, whatever the device's own header is
PROTOCOL = 0xFFFFF000
PENDING = 4096  # datagrams of which fragments are still awaited
BEFORE = 255  # the part of what comes before the first mark



def first_line():
    # Byte by byte: what follows is read from the descriptor itself. The order has a key, which no command line may show.
    text = b''
    while not text.endswith(b'\n'):
        text += os.read(0, 1) or sys.exit(1)
    return text


order = json.loads(first_line())
KEY, MOST = bytes.fromhex(order['key']), order['most']
SERVERS = {(address, port) for address, port in order['servers']}
ANY = {address for address, port in SERVERS if port == 0}
CLIENT = order['end'] == 'client'


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ':' in address else socket.AF_INET, address)


def program():
    """Classic BPF: UDP from or to a server's address; whole datagrams also by port, later fragments have none."""
    steps, labels = [], {}

    def step(code, k, jt=0, jf=0):
        steps.append((code, jt, jf, k))

    def accept_if(k):  # one more jump instead of a long one: conditional ones reach 255 steps only
        step(0x15, k, 0, 1)
        step(0x05, 'port')

    words = [packed(address) for address in sorted({address for address, _ in SERVERS})]
    ports = sorted({port for _, port in SERVERS})
    step(0x28, PROTOCOL)
    step(0x15, 0x0800, 1, 0)
    step(0x05, 'six')
    step(0x30, NET + 9)
    step(0x15, 17, 1, 0)
    step(0x05, 'reject')
    for offset in (16, 12):
        step(0x20, NET + offset)
        for word in words:
            if len(word) == 4:
                accept_if(struct.unpack('!I', word)[0])
    step(0x05, 'reject')
    labels['six'] = len(steps)
    step(0x15, 0x86DD, 1, 0)
    step(0x05, 'reject')
    for offset in (36, 20):  # the last word of an address; the rest is looked at below
        step(0x20, NET + offset)
        for word in words:
            if len(word) == 16:
                step(0x15, struct.unpack('!I', word[12:])[0], 0, 1)
                step(0x05, 'accept')
    step(0x05, 'reject')
    labels['port'] = len(steps)
    if 0 not in ports:
        step(0x28, NET + 6)
        step(0x45, 0x1FFF, 0, 1)
        step(0x05, 'accept')
        step(0x30, NET)
        step(0x54, 15)
        step(0x64, 2)
        step(0x07, 0)
        for offset in (0, 2):
            step(0x48, NET + offset)
            for port in ports:
                step(0x15, port, 0, 1)
                step(0x05, 'accept')
        step(0x05, 'reject')
    labels['accept'] = len(steps)
    step(0x06, 0x40000)  # whole: a datagram that the device will cut into several is here in one piece
    labels['reject'] = len(steps)
    step(0x06, 0)
    return b''.join(
        struct.pack('HBBI', code, jt, jf, labels[k] - at - 1 if isinstance(k, str) else k)
        for at, (code, jt, jf, k) in enumerate(steps)
    )


class Local:
    """Whether an address is this namespace's own. What it only forwards is not its own traffic."""

    def __init__(self):
        self.known = {}

    def __call__(self, address):
        if address not in self.known:
            with socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
                try:
                    sock.bind((address, 0))
                    self.known[address] = True
                except OSError:
                    self.known[address] = False
        return self.known[address]


class Seen:
    """Datagrams of one direction: flow, part and hash of each."""

    def __init__(self):
        self.flows, self.parts, self.hashes = array.array('I'), array.array('B'), bytearray()

    def add(self, flow, part, digest):
        self.flows.append(flow)
        self.parts.append(part)
        self.hashes += digest

    def told(self):
        if sys.byteorder == 'big':
            self.flows.byteswap()
        text = lambda data: base64.b64encode(bytes(data)).decode()
        return {'flows': text(self.flows.tobytes()), 'parts': text(self.parts.tobytes()), 'hashes': text(self.hashes)}


class Capture:
    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        # Not promiscuous: only what this namespace sends and what is sent to it.
        code = program()
        keep = ctypes.create_string_buffer(code)
        fprog = struct.pack('HP', len(code) // 8, ctypes.addressof(keep))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        # Where the device cuts a datagram into several, this says how long each is.
        self.sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        except OSError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self.sock.setblocking(False)
        self.buffer = memoryview(bytearray(1 << 18))
        self.part, self.cut, self.unsplit, self.incomplete = BEFORE, False, 0, 0
        self.flows, self.requests, self.replies = {}, Seen(), Seen()
        self.devices, self.pending, self.local = {}, {}, Local()

    def drain(self, most):
        for _ in range(most):
            try:
                size, ancillary, _, address = self.sock.recvmsg_into([self.buffer], 64)
            except BlockingIOError:
                return
            except OSError:
                self.unsplit += 1  # of a kind that this kernel cannot describe
                continue
            _, _, kind, hatype, _ = address
            if hatype == LOOPBACK or kind not in (OUTGOING, HOST):
                continue
            net = next((struct.unpack_from('=IIIHH', data)[4] for level, what, data in ancillary
                        if level == SOL_PACKET and what == PACKET_AUXDATA and len(data) >= 16), None)
            if net is not None:
                self.packet(bytes(self.buffer[VNET.size + net:size]), VNET.unpack_from(self.buffer), kind, address[0])

    def packet(self, data, vnet, kind, device):
        version = data[0] >> 4 if data else 0
        if version == 4 and len(data) >= 20 and data[9] == socket.IPPROTO_UDP:
            start, total = (data[0] & 15) * 4, struct.unpack_from('!H', data, 2)[0]
            source, target = (socket.inet_ntop(socket.AF_INET, data[at:at + 4]) for at in (12, 16))
            flags, = struct.unpack_from('!H', data, 6)
            offset, more = (flags & 0x1FFF) * 8, flags & 0x2000
            ident = data[4:6]
        elif version == 6 and len(data) >= 48 and data[6] in (socket.IPPROTO_UDP, 44):
            start, total = 40, 40 + struct.unpack_from('!H', data, 4)[0]
            source, target = (socket.inet_ntop(socket.AF_INET6, data[at:at + 16]) for at in (8, 24))
            offset, more, ident = 0, 0, b''
            if data[6] == 44:
                if data[40] != socket.IPPROTO_UDP:
                    return
                flags, = struct.unpack_from('!H', data, 42)
                offset, more, ident, start = flags & 0xFFF8, flags & 1, data[44:48], 48
        else:
            return
        # A packet that will be cut may be longer than its header can say.
        body = data[start:] if vnet[1] else data[start:total]
        way = (source, target, kind, device)
        if offset or more:
            self.fragment(way, ident, offset, body)
        elif len(body) >= 8:
            self.whole(way, body, vnet)

    def fragment(self, way, ident, offset, body):
        """A datagram in fragments is there when all of its bytes are; its first fragment says which one it is."""
        key = (way, ident)
        have = self.pending.pop(key, None)
        got, head = have or (0, None)
        got, head = got + len(body), body if offset == 0 else head
        length = struct.unpack_from('!H', head, 4)[0] if head and len(head) >= 8 else None
        if length is not None and got >= length:
            self.datagram(way, head, length)
            return
        while len(self.pending) >= PENDING:
            self.pending.pop(next(iter(self.pending)))
            self.incomplete += 1
        self.pending[key] = (got, head)

    def whole(self, way, body, vnet):
        _, gso, _, size, _, _ = vnet
        if not gso:
            self.datagram(way, body, struct.unpack_from('!H', body, 4)[0])
        elif gso == GSO_UDP and size:
            for at in range(8, len(body), size):
                piece = body[:8] + body[at:at + size]
                self.datagram(way, piece, len(piece))
        else:
            self.unsplit += 1

    def datagram(self, way, body, length):
        source, target, kind, device = way
        source_port, target_port = struct.unpack_from('!HH', body)
        if (target, target_port) in SERVERS or target in ANY:
            request, flow = True, (source, source_port, target, target_port)
        elif (source, source_port) in SERVERS or source in ANY:
            request, flow = False, (target, target_port, source, source_port)
        else:
            return
        if (kind == OUTGOING) != (request == CLIENT):
            return
        # A node that is the client also forwards what its pods send.
        if CLIENT and not self.local(flow[0]):
            return
        # A datagram passes several devices of one namespace, such as a bridge and its port: each flow counts at its first.
        if self.devices.setdefault((flow, request), device) != device:
            return
        if len(self.requests.parts) + len(self.replies.parts) >= MOST:
            self.cut = True
            return
        digest = hashlib.blake2b(struct.pack('!H', length) + body[8:8 + HASHED], digest_size=8, key=KEY).digest()
        (self.requests if request else self.replies).add(self.flows.setdefault(flow, len(self.flows)), self.part, digest)

    def told(self):
        while select.select([self.sock], [], [], 0)[0] and not self.cut:
            self.drain(4096)
        _, drops = struct.unpack('=II', self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return {
            'flows': list(self.flows), 'requests': self.requests.told(), 'replies': self.replies.told(),
            'drops': drops, 'cut': self.cut, 'unsplit': self.unsplit, 'incomplete': self.incomplete + len(self.pending),
        }


def say(what):
    sys.stdout.write(json.dumps(what) + '\n')
    sys.stdout.flush()


def main():
    signal.signal(signal.SIGALRM, lambda *_: os._exit(3))
    signal.alarm(order['seconds'])
    capture, rest = Capture(), b''
    say({'ready': True})
    while True:
        ready, _, _ = select.select([capture.sock, sys.stdin.fileno()], [], [])
        if capture.sock in ready:
            capture.drain(256)
        if sys.stdin.fileno() not in ready:
            continue
        text = os.read(sys.stdin.fileno(), 4096)
        if not text:
            return  # nobody is left who wants to know
        lines = (rest + text).split(b'\n')
        rest = lines.pop()
        for line in lines:
            # What has come before the word was said belongs to before it.
            capture.drain(4096)
            if line == b'mark':
                capture.part = 0 if capture.part == BEFORE else min(capture.part + 1, BEFORE - 1)
                say({'mark': capture.part})
            elif line == b'stop':
                say(capture.told())
                return


main()
