# Optimisation. Sets
#
#   ERLANG_PYTHON_OPTIMISATION        flags that compile C, of the shim and of the core
#   ERLANG_PYTHON_LINK_OPTIMISATION   flags that link it
#   ERLANG_PYTHON_GO_OPTIMISATION     environment of the Go compiler, as NAME=VALUE
#   ERLANG_PYTHON_GO_PROFILE          value of its option -pgo
if(NOT PERF_BUILD)
    set(ERLANG_PYTHON_OPTIMISATION -O2 -g)
    set(ERLANG_PYTHON_LINK_OPTIMISATION "")
    set(ERLANG_PYTHON_GO_OPTIMISATION "")
    # With a profile Go compiles its whole standard library again, which doubles the time of a first build.
    set(ERLANG_PYTHON_GO_PROFILE off)
    return()
endif()

# GCC wants to know how many processes it may link with.
set(lto -flto)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    set(lto -flto=auto)
endif()

# -ffast-math promises the compiler that there are no NaNs and infinities, and isnan() becomes `false`; the
# conversion of floats to terms asks exactly that, so this part of the promise is taken back.
# It is never given to the linker: there it adds crtfastmath.o, whose start-up code switches the thread that loads the
# library, and all that it creates, to flushing denormals to zero, numpy included.
set(ERLANG_PYTHON_OPTIMISATION -O3 -g ${lto} -march=native -ffast-math -fno-finite-math-only -funroll-loops)
set(ERLANG_PYTHON_LINK_OPTIMISATION -O3 ${lto} -march=native)
set(ERLANG_PYTHON_GO_OPTIMISATION "")
# nif/default.pgo, which scripts/refresh-pgo.sh makes.
set(ERLANG_PYTHON_GO_PROFILE auto)

# GOAMD64 of this processor, from the same source that -march=native uses.
execute_process(COMMAND "${CMAKE_C_COMPILER}" -march=native -dM -E -x c /dev/null
    OUTPUT_VARIABLE macros RESULT_VARIABLE macros_result ERROR_QUIET)
if(NOT macros_result EQUAL 0)
    erlang_python_stop("${CMAKE_C_COMPILER} does not know -march=native: build without PERF_BUILD or install a newer gcc.")
endif()
if(macros MATCHES "__x86_64__")
    # Levels of the x86-64 psABI, by the instructions that each of them adds.
    set(level_2 SSE3 SSSE3 SSE4_1 SSE4_2 POPCNT)
    set(level_3 AVX AVX2 BMI BMI2 F16C FMA LZCNT MOVBE)
    set(level_4 AVX512F AVX512BW AVX512CD AVX512DQ AVX512VL)
    set(reached 1)
    set(missing FALSE)
    foreach(level IN ITEMS 2 3 4)
        foreach(instruction IN LISTS level_${level})
            if(NOT macros MATCHES "__${instruction}__")
                set(missing TRUE)
            endif()
        endforeach()
        if(NOT missing)
            set(reached ${level})
        endif()
    endforeach()
    set(ERLANG_PYTHON_GO_OPTIMISATION "GOAMD64=v${reached}")
endif()
