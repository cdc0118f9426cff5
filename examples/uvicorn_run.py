"""uvicorn.run() as in any program, with the loop named in its configuration.

``uvicorn_run.py [port]``
"""

import sys

import fastapi_application
import uvicorn

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run(fastapi_application.create_application(), port=port, loop="erlang:new_event_loop")
