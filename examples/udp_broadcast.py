"""Sends a broadcast datagram to port 9999: listen with ``nc -u -l 9999``.

``sh examples/run.sh examples/udp_broadcast.py 127.255.255.255`` stays on this machine.
"""

import asyncio
import sys


class MyProtocol(asyncio.DatagramProtocol):
    def error_received(self, exc):
        print(f"Error received: {exc}")


async def main(address):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        MyProtocol,
        local_addr=("0.0.0.0", 0),
        allow_broadcast=True,
    )
    # Send to broadcast address
    transport.sendto(b"Broadcast message", (address, 9999))
    transport.close()
    print(f"Sent to {address}")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "255.255.255.255"))
