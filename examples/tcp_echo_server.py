"""A TCP echo server on port 8888: try ``nc 127.0.0.1 8888``."""

import asyncio


class EchoServerProtocol(asyncio.Protocol):
    def connection_made(self, transport):
        peername = transport.get_extra_info("peername")
        print(f"Connection from {peername}")
        self.transport = transport

    def data_received(self, data):
        message = data.decode()
        print(f"Received: {message}")
        # Echo back
        self.transport.write(data)

    def connection_lost(self, exc):
        print("Connection closed")


async def main():
    loop = asyncio.get_running_loop()

    server = await loop.create_server(
        EchoServerProtocol,
        host="127.0.0.1",
        port=8888,
        reuse_address=True,
    )

    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
