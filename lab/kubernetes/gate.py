"""The way to the API server from the real machine, whose network the lab is not part of: gate.py PORT-FD ADDRESS PORT.

Listens on a free port of 127.0.0.1 of the network namespace that it is started in, writes it to the open file, and connects from
within that of process 1.
"""

import asyncio
import os
import sys

port_fd, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # either end is gone, and so is the connection
    finally:
        writer.close()


async def serve(reader, writer):
    try:
        inner_reader, inner_writer = await asyncio.open_connection(address, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))


async def main():
    # A socket stays in the namespace in which it was made; those made later are in the other one.
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    os.setns(os.open('/proc/1/ns/net', os.O_RDONLY), os.CLONE_NEWNET)
    with open(int(port_fd), 'w') as file:
        print(server.sockets[0].getsockname()[1], file=file, flush=True)
    await server.serve_forever()


asyncio.run(main())
