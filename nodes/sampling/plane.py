"""Reads kube-proxy on this node and what it has programmed: plane.py CLIENT ADDRESS:PORT … prints one JSON object.
With --brief instead of addresses it leaves the rules out.

It changes nothing and asks only this node: its processes, kube-proxy's own loopback ports, its rules.
"""

import glob
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

ENV = dict(os.environ, PATH=os.environ.get('PATH', '') + ':/usr/sbin:/sbin', LC_ALL='C')
missing = {}


def run(*argv):
    """What a program prints, or None with the reason in `missing`."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=4, env=ENV)
    except (OSError, subprocess.TimeoutExpired) as error:
        missing[argv[0]] = str(error)
        return None
    if done.returncode:
        missing[argv[0]] = done.stderr.decode(errors='replace').strip()[:200] or 'status %d' % done.returncode
        return None
    return done.stdout.decode(errors='replace')


def number(path):
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def process():
    """The process that is kube-proxy, and its state: R, S, D run; T is stopped."""
    for path in glob.glob('/proc/[0-9]*/stat'):
        try:
            with open(path) as file:
                text = file.read()
        except OSError:
            continue
        name, rest = text[text.index('(') + 1:].rsplit(')', 1)
        if name == 'kube-proxy':
            return {'pid': int(text.split()[0]), 'state': rest.split()[0]}
    return None


def get(port, path):
    """Body of an answer over plain HTTP on loopback: python3-minimal has no http module. None: nothing answers."""
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=1) as sock:
            sock.settimeout(1)
            sock.sendall(('GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' % path).encode())
            data = b''
            while len(data) < 1 << 20:
                chunk = sock.recv(65536)
                if not chunk:
                    break
                data += chunk
    except OSError:
        return None
    head, _, body = data.decode(errors='replace').partition('\r\n\r\n')
    return (head.split('\r\n')[0], body)


def metrics(text):
    """The largest value of each metric, over its label sets (one per IP family)."""
    values = {}
    for line in text.splitlines():
        match = re.match(r'(\w+)(?:\{[^}]*\})? ([0-9.e+]+)$', line)
        if match and match.group(1).startswith('kubeproxy_'):
            values[match.group(1)] = max(float(match.group(2)), values.get(match.group(1), 0))
    return values


def holds(path, client):
    """Whether such a list of the kernel's holds the client. What has expired is gone from it once a rule has asked it."""
    with open(path) as file:
        return any(line.startswith('src=%s ' % client) for line in file)


def kept_by(binds, tops):
    """Of the Services that keep their clients: the endpoint of this client, by address. None where that cannot be read."""
    try:
        return {name: end for name, end in ((name, binds(top)) for name, top in tops.items()) if end is not None}
    except OSError as error:
        missing['affinity'] = str(error)
        return None


def iptables(text, wanted, client, lists='/proc/net/xt_recent'):
    """Service address -> endpoints, followed through kube-proxy's chains of the nat table; and -> the one kept for the client."""
    jumps, ends, tops, kept = {}, {}, {}, {}
    for line in text.splitlines():
        if not line.startswith('-A KUBE-'):
            continue
        chain = line.split()[1]
        jump = re.search(r'-j (KUBE-(?:SVC|SVL|EXT|SEP)-\S+)', line)
        if chain in ('KUBE-SERVICES', 'KUBE-NODEPORTS'):
            address, port = re.search(r'-d ([^/ ]+)', line), re.search(r'--dport (\d+)', line)
            if jump and port and '-p udp' in line:
                tops['%s:%s' % (address.group(1) if address else '*', port.group(1))] = jump.group(1)
        elif jump:
            jumps.setdefault(chain, []).append(jump.group(1))
            recent = re.search(r'-m recent --rcheck .*--name (\S+)', line)
            if recent:
                kept.setdefault(chain, []).append((recent.group(1), jump.group(1)))
        else:
            end = re.search(r'-p udp .*--to-destination (\S+)', line)
            if end:
                ends[chain] = end.group(1)

    def leads(chain, seen=()):
        if chain in ends:
            return {ends[chain]}
        return {end for one in jumps.get(chain, []) if one not in seen for end in leads(one, seen + (chain,))}

    def binds(chain, depth=0):
        """The endpoint kept for the client, '' where there is none; None: this Service keeps none for anybody."""
        # In the order of the rules: a client that several lists hold goes where the first of them leads.
        for name, end in kept.get(chain, []):
            if holds(os.path.join(lists, os.path.basename(name)), client):
                return ends.get(end, '')
        if chain in kept:
            return ''
        further = [one for one in jumps.get(chain, []) if one.startswith(('KUBE-SVC', 'KUBE-SVL'))] if depth < 2 else []
        return next((end for end in (binds(one, depth + 1) for one in further) if end is not None), None)

    found = {name: tops[top] for name in wanted
             for top in [name if name in tops else '*:' + name.rsplit(':', 1)[1]] if top in tops}
    return {name: sorted(leads(top)) for name, top in found.items()}, kept_by(binds, found)


def nftables(text, wanted, client):
    """The same from the table that kube-proxy writes in nftables mode."""
    chains, chain = {}, None
    for line in text.splitlines():
        match = re.match(r'\tchain (\S+) \{', line)
        chain = match.group(1) if match else chain
        chains.setdefault(chain, []).append(line)
    joined = {name: '\n'.join(lines) for name, lines in chains.items()}

    def leads(name, depth=0):
        body = joined.get(name, '')
        ends = set(re.findall(r'dnat to ([0-9.]+:\d+)', body))
        # Newer versions choose among the endpoints in one rule: `dnat ip to numgen random mod 2 map { 0 : 10.0.0.1 . 53, ...`
        for rule in re.findall(r'dnat ip to .*', body):
            ends |= {'%s:%s' % end for end in re.findall(r'([0-9.]+) \. (\d+)', rule)}
        for one in set(re.findall(r'(?:goto|jump) ((?:service|endpoint|external)-\S+?)[\s,}]', body + ' ')):
            if depth < 4:
                ends |= leads(one, depth + 1)
        return ends

    def binds(name):
        """The endpoint kept for the client, '' where there is none; None: this Service keeps none for anybody."""
        body = joined.get(name, '')
        sets = re.findall(r'ip saddr @(affinity-\S+) goto (endpoint-\S+)', body)
        for held, end in sets:
            elements = re.search(r'\tset %s \{\n(.*?)\n\t\}' % re.escape(held), text, re.S)
            if elements and re.search(r'[{,]\s*%s[\s,}]' % re.escape(client), elements.group(1).partition('elements')[2] + '}'):
                return next(iter(leads(end)), '')
        # From outside it is one chain further.
        further = re.search(r'goto (service-\S+)', body)
        return '' if sets else binds(further.group(1)) if further and further.group(1) != name else None

    found = {}
    for name in wanted:
        address, port = name.rsplit(':', 1)
        match = re.search(
            r'%s \. udp \. %s(?: comment \"[^\"]*\")? : goto ((?:service|external)-\S+?)[\s,}]' % (re.escape(address), port), text) or re.search(
            r'[{,]\s*udp \. %s(?: comment \"[^\"]*\")? : goto ((?:service|external)-\S+?)[\s,}]' % port, text)
        if match:
            found[name] = match.group(1)
    return {name: sorted(leads(top)) for name, top in found.items()}, kept_by(binds, found)


def programmed(wanted, client):
    rules = run('iptables-save', '-t', 'nat')
    if rules and '-A KUBE-SERVICES' in rules:
        return iptables(rules, wanted, client) + ('iptables',)
    table = run('nft', 'list', 'table', 'ip', 'kube-proxy')
    if table is not None:
        missing.pop('iptables-save', None)
        return nftables(table, wanted, client) + ('nftables',)
    missing.pop('nft', None)  # there is no such table
    legacy = run('iptables-legacy-save', '-t', 'nat') if os.path.exists('/proc/net/ip_tables_names') else None
    missing.pop('iptables-legacy-save', None)
    if legacy and '-A KUBE-SERVICES' in legacy:
        return iptables(legacy, wanted, client) + ('iptables',)
    return ({} if rules is not None else None), None, ''


def main():
    client, *wanted = sys.argv[1:]
    answer = {'process': process(), 'mode': '', 'health': ''}
    # A stopped kube-proxy takes connections and answers none: all three are waited for at the same time.
    asked = [(10256, '/healthz'), (10249, '/proxyMode'), (10249, '/metrics')]
    answers = {}
    threads = [threading.Thread(target=lambda one=one: answers.update({one: get(*one)})) for one in asked]
    for thread in threads:
        thread.start()
    brief = wanted == ['--brief']
    answer['programmed'], answer['bound'], seen = (None, {}, '') if brief else programmed(wanted, client)
    for thread in threads:
        thread.join()
    health, mode, numbers = (answers[one] for one in asked)
    if health:
        answer['health'] = '200' if ' 200 ' in health[0] + ' ' else health[0]
    answer['mode'] = mode[1].strip() if mode else seen
    if numbers:
        values = metrics(numbers[1])
        last = values.get('kubeproxy_sync_proxy_rules_last_timestamp_seconds')
        queued = values.get('kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds')
        if last:
            answer['syncedAgo'] = round(time.time() - last, 1)
            answer['queued'] = bool(queued and queued > last + 1)
        failures = [values[name] for name in values if re.search(r'(restore_failures|sync_failures)_total$', name)]
        answer['restoreFailures'] = int(sum(failures))
        version = re.search(r'^kubernetes_build_info\{.*git_version="([^"]+)"', numbers[1], re.M)
        answer['version'] = version.group(1) if version else None
    elif answer['process']:
        missing['metrics'] = 'kube-proxy does not answer on 127.0.0.1:10249'
    legacy = run('iptables-legacy-save') if not brief and os.path.exists('/proc/net/ip_tables_names') and os.path.exists(
        '/usr/sbin/iptables-legacy-save') else ''
    if not brief:
        answer['legacyChains'] = len(re.findall(r'^:KUBE-', legacy or '', re.M))
    answer['bridgeCalls'] = number('/proc/sys/net/bridge/bridge-nf-call-iptables')
    answer['missing'] = missing
    print(json.dumps({key: value for key, value in answer.items() if value is not None}))


if __name__ == '__main__':
    main()
