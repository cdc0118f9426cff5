# erlang_python_stop(<text>) ends the configuration. The text goes out as one line of its own, because
# message(FATAL_ERROR) folds what it prints; scripts/build.sh shows that line alone.
function(erlang_python_stop text)
    message(NOTICE "erlang_python: ${text}")
    message(FATAL_ERROR "The line above says what is missing.")
endfunction()
