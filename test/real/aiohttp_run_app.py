"""``aiohttp_run_app.py <port>``: aiohttp's web.run_app() as every program calls it."""

import sys

import aiohttp_server
from aiohttp import web

if __name__ == "__main__":
    web.run_app(aiohttp_server.create_application(), host="127.0.0.1", port=int(sys.argv[1]))
