module erlang_python/bench/client

go 1.24
