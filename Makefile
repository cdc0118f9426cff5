# The two commands: `make run` and `make test`. Both install what is missing first (apt; elsewhere they say what).
.PHONY: all run test conformance bench soak property asan valgrind fuzz lint format clean

all:
	sh scripts/setup.sh run
	rebar3 compile

# A short tour of what the application does, then an Erlang shell.
run:
	@sh scripts/run.sh

# All tests; the last line counts them.
test:
	@bash scripts/test.sh

# CPython's own asyncio tests on ErlangEventLoop; the last line counts them.
conformance:
	sh scripts/setup.sh conformance
	rebar3 compile
	@bash scripts/conformance.sh

# The benchmarks, on a quiet machine; see docs/benchmarks.md.
bench:
	sh scripts/setup.sh run
	PERF_BUILD=ON rebar3 compile
	sh bench/make_venv.sh || echo "bench: without uvloop, aiohttp and uvicorn"
	"$$(cat _build/cmake/python-executable)" bench/bench_calls.py
	"$$(cat _build/cmake/python-executable)" bench/bench_callbacks.py
	"$$(cat _build/cmake/python-executable)" bench/bench_tasks.py
	"$$(cat _build/cmake/python-executable)" bench/bench_messages.py
	"$$(cat _build/cmake/python-executable)" bench/bench_isolated.py
	"$$(cat _build/cmake/python-executable)" bench/bench_loop.py

# Mixed load with restarts and killed processes for SECONDS; see docs/robustness.md.
SECONDS ?= 60
soak:
	@sh scripts/soak.sh $(SECONDS)

# The low-level calls in random order against a model, COMMANDS of them; see docs/robustness.md.
COMMANDS ?= 100000
property:
	@sh scripts/property.sh $(COMMANDS)

# The C parts with AddressSanitizer and UndefinedBehaviorSanitizer, in the VM.
asan:
	@bash scripts/asan.sh

# The conversion of values under valgrind, outside the VM.
valgrind:
	@sh scripts/valgrind.sh

# Each fuzz target of the pure Go packages for SECONDS.
fuzz:
	@sh scripts/fuzz.sh $(SECONDS)

# Style only: C, Go and Python.
lint:
	@sh scripts/lint.sh

format:
	@sh scripts/lint.sh fix

clean:
	rebar3 clean
	rm -rf _build
