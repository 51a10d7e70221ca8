"""A thousand nodes in one process: each request is answered after 20 ms, on any path, with what a sidecar says."""

import asyncio
import sys

KEY = "0x" + "ab" * 48
DELAY = 0.02
RESULTS = f'{{"results":[{{"key":"{KEY}","result":"changed","state":"frozen"}}]}}'.encode()
SIGNING = (
    '{"instance_id":"i","now":"2026-11-20T03:00:00Z","keys":['
    f'{{"key":"{KEY}","state":"frozen","counter":7,"last_signed_at":null,"next_duty_at":null}}]}}'
).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests of one connection until it ends."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                (int(row[15:]) for row in head.split(b"\r\n") if row.lower().startswith(b"content-length:")), 0
            )
            if length:
                await reader.readexactly(length)
            await asyncio.sleep(DELAY)
            body = RESULTS if head.startswith(b"PUT") else SIGNING
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Listen until the process is ended."""
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
