"""A UDP endpoint on port 9999 that decodes what it gets and shows it, and echoes it."""

import asyncio


class EchoUDPProtocol(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        print(f"Listening on {transport.get_extra_info('sockname')}")

    def datagram_received(self, data, addr):
        message = data.decode()
        print(f"Received {message!r} from {addr}")
        # Echo back to sender
        self.transport.sendto(data, addr)

    def error_received(self, exc):
        print(f"Error received: {exc}")

    def connection_lost(self, exc):
        print("Connection closed")


async def main():
    loop = asyncio.get_running_loop()

    # Create UDP server
    transport, protocol = await loop.create_datagram_endpoint(
        EchoUDPProtocol,
        local_addr=("127.0.0.1", 9999),
    )

    try:
        await asyncio.sleep(3600)  # Run for an hour
    finally:
        transport.close()


asyncio.run(main())
