# Sets ERLANG_PYTHON_GO, the first go that is new enough: on PATH, then where the installer of go.dev and
# Debian's versioned packages put it.
set(go_oldest 1.24)
set(go_packages "Debian, Ubuntu: apt-get install golang-go, or golang-1.24-go from the backports")

file(GLOB versioned_go LIST_DIRECTORIES false /usr/lib/go-*/bin/go)
list(SORT versioned_go COMPARE NATURAL ORDER DESCENDING)
find_program(go_on_path NAMES go NO_CACHE)
unset(ERLANG_PYTHON_GO)
unset(go_too_old)
foreach(candidate IN ITEMS "${go_on_path}" /usr/local/go/bin/go LISTS versioned_go)
    if(NOT EXISTS "${candidate}")
        continue()
    endif()
    # `local`: what is installed counts, not what Go could download.
    execute_process(
        COMMAND "${CMAKE_COMMAND}" -E env GOTOOLCHAIN=local "${candidate}" env GOVERSION
        WORKING_DIRECTORY /
        OUTPUT_VARIABLE go_version RESULT_VARIABLE go_result ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT go_result EQUAL 0)
        continue()
    endif()
    string(REGEX REPLACE "^.*go([0-9]+\\.[0-9.]*[0-9]).*$" "\\1" go_version "${go_version}")
    if(go_version VERSION_GREATER_EQUAL go_oldest)
        set(ERLANG_PYTHON_GO "${candidate}")
        break()
    endif()
    set(go_too_old "${candidate} is Go ${go_version}, ")
endforeach()
if(NOT ERLANG_PYTHON_GO)
    erlang_python_stop("${go_too_old}Go ${go_oldest} or newer not found: install it (${go_packages}, or https://go.dev/dl).")
endif()
