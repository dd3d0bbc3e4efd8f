"""Makes servers of the loopback interface answer at another address as well, port for port.

`python -m tests.chaos.forwarding ADDRESS PORT...` says `ready` once it listens.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from functools import partial


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    writer.close()


async def _forward(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))


async def main(address: str, ports: list[int]) -> None:
    for port in ports:
        await asyncio.start_server(partial(_forward, port), address, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:]]))
