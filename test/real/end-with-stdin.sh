#!/bin/sh
# end-with-stdin.sh <program> [argument...]: runs the program without standard input, and ends it (TERM, then KILL after
# five seconds) when a byte comes from standard input or that closes. An Erlang port closes it also when its VM is
# killed, so nothing is left over. The exit status is the program's.
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
(
    head -c 1 <&3
    kill -TERM $program || exit 0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 0.5
        kill -0 $program || exit 0
    done
    kill -KILL $program
) >/dev/null 2>&1 &
exec 3<&-
wait $program
