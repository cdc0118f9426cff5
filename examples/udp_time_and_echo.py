"""A UDP time server on port 14000 and a UDP echo server on port 15000.

Try ``echo hello | nc -u localhost 14000``. Written for select() once, with a loop of its own; here
the waiting is left to asyncio's datagram endpoints.
"""

import asyncio
import socket
import time


class UDPServer(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        print(f"{type(self).__name__} listening on port {transport.get_extra_info('sockname')[1]}")


class UDPTimeServer(UDPServer):
    def datagram_received(self, data, addr):
        self.transport.sendto(time.ctime().encode("ascii"), addr)


class UDPEchoServer(UDPServer):
    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def main():
    loop = asyncio.get_running_loop()
    # nc asks ::1 first where localhost has both kinds of address.
    host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    time_server, _ = await loop.create_datagram_endpoint(UDPTimeServer, local_addr=(host, 14000))
    echo_server, _ = await loop.create_datagram_endpoint(UDPEchoServer, local_addr=(host, 15000))
    try:
        await asyncio.Event().wait()
    finally:
        time_server.close()
        echo_server.close()


if __name__ == "__main__":
    asyncio.run(main())
