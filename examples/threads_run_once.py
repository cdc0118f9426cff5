"""A loop for each of two threads, driven by hand; neither sees the other's callbacks."""

import threading
import time

from erlang import ErlangEventLoop

collected = []


def run_tasks(loop_id):
    """Each thread gets its own event loop."""
    loop = ErlangEventLoop()
    results = []

    def callback():
        results.append(loop_id)

    # Schedule callbacks - isolated to this loop
    loop.call_soon(callback)
    loop.call_later(0.01, callback)

    # Process events
    deadline = time.time() + 0.5
    while time.time() < deadline and len(results) < 2:
        loop._run_once()
        time.sleep(0.01)

    loop.close()
    collected.append(results)
    return results


# Run in separate threads
t1 = threading.Thread(target=run_tasks, args=("loop_a",))
t2 = threading.Thread(target=run_tasks, args=("loop_b",))

t1.start()
t2.start()
t1.join()
t2.join()

# Each thread only sees its own callbacks
print(sorted(collected))
