# The C compiler, tried once by hand: CMake's own complaint about a missing one, or one without the C library's
# headers, is a page long.
if(NOT CMAKE_C_COMPILER)
    find_program(ERLANG_PYTHON_CC NAMES $ENV{CC} cc gcc clang)
    mark_as_advanced(ERLANG_PYTHON_CC)
    set(compiler_probe "${CMAKE_CURRENT_BINARY_DIR}/compiler_probe")
    file(WRITE "${compiler_probe}.c" "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n")
    if(ERLANG_PYTHON_CC)
        execute_process(COMMAND "${ERLANG_PYTHON_CC}" "${compiler_probe}.c" -o "${compiler_probe}"
            RESULT_VARIABLE compiler_result OUTPUT_QUIET ERROR_QUIET)
    endif()
    if(NOT ERLANG_PYTHON_CC OR NOT compiler_result EQUAL 0)
        erlang_python_stop("no working C compiler found: install one (Debian, Ubuntu: apt-get install gcc libc6-dev).")
    endif()
    set(CMAKE_C_COMPILER "${ERLANG_PYTHON_CC}")
endif()
enable_language(C)
