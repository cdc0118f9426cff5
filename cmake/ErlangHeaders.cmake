# Sets ERLANG_NIF_INCLUDE_DIR, the folder of erl_nif.h, and ERLANG_PYTHON_ERTS_VERSION, both of the erl on PATH.
set(erlang_packages "Debian, Ubuntu: apt-get install erlang-base erlang-dev")

find_program(erl_program NAMES erl NO_CACHE)
if(NOT erl_program)
    erlang_python_stop("no erl found: install Erlang/OTP 25 or newer (${erlang_packages}).")
endif()
execute_process(
    COMMAND "${erl_program}" -noshell -noinput -boot start_clean -eval
        "io:format(\"~ts;~ts;~ts\", [code:root_dir(), erlang:system_info(otp_release), erlang:system_info(version)]), halt()."
    OUTPUT_VARIABLE erl_answer RESULT_VARIABLE erl_result ERROR_QUIET)
if(NOT erl_result EQUAL 0 OR NOT erl_answer MATCHES "^([^;]+);([0-9]+);([^;]+)$")
    erlang_python_stop("${erl_program} does not run: install Erlang/OTP 25 or newer (${erlang_packages}).")
endif()
set(ERLANG_NIF_INCLUDE_DIR "${CMAKE_MATCH_1}/usr/include")
set(ERLANG_PYTHON_ERTS_VERSION "${CMAKE_MATCH_3}")
if(CMAKE_MATCH_2 LESS 25)
    erlang_python_stop("${erl_program} is Erlang/OTP ${CMAKE_MATCH_2}: install Erlang/OTP 25 or newer (${erlang_packages}).")
endif()
if(NOT EXISTS "${ERLANG_NIF_INCLUDE_DIR}/erl_nif.h")
    erlang_python_stop("erl_nif.h is not in ${ERLANG_NIF_INCLUDE_DIR}: install Erlang's development files (${erlang_packages}).")
endif()
