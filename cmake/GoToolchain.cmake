# Sets ERLANG_PYTHON_GO, a go that is new enough, and ERLANG_PYTHON_GO_TOOLCHAIN, the GOTOOLCHAIN to run it with. Looks on
# PATH, then where the installer of go.dev and Debian's versioned packages put it.
#
# A Go from 1.21 on can fetch a newer one, the `toolchain` of nif/go.mod, through the module proxy. That is used where no
# installed Go is new enough: when it has been fetched before, or when that Go is set up to fetch (GOTOOLCHAIN=auto, its
# default).
set(go_oldest 1.24)
set(go_packages "Debian, Ubuntu: apt-get install golang-go, on an older release scripts/setup.sh")

file(GLOB versioned_go LIST_DIRECTORIES false /usr/lib/go-*/bin/go)
list(SORT versioned_go COMPARE NATURAL ORDER DESCENDING)
find_program(go_on_path NAMES go NO_CACHE)
file(STRINGS "${ERLANG_PYTHON_ROOT}/nif/go.mod" go_toolchain REGEX "^toolchain ")
string(REPLACE "toolchain " "" go_toolchain "${go_toolchain}")

# go_version(<out> <go> NAME=VALUE...): its version with that environment, empty when it fails.
function(go_version out go)
    execute_process(
        COMMAND "${CMAKE_COMMAND}" -E env ${ARGN} "${go}" env GOVERSION
        WORKING_DIRECTORY /
        OUTPUT_VARIABLE version RESULT_VARIABLE result ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(result EQUAL 0 AND version MATCHES "go([0-9]+\\.[0-9]+(\\.[0-9]+)?)")
        set(${out} "${CMAKE_MATCH_1}" PARENT_SCOPE)
    else()
        set(${out} "" PARENT_SCOPE)
    endif()
endfunction()

unset(ERLANG_PYTHON_GO)
set(go_too_old "")
set(can_fetch "")
foreach(candidate IN ITEMS "${go_on_path}" /usr/local/go/bin/go LISTS versioned_go)
    if(NOT EXISTS "${candidate}")
        continue()
    endif()
    go_version(version "${candidate}" GOTOOLCHAIN=local)
    if(version VERSION_GREATER_EQUAL go_oldest)
        set(ERLANG_PYTHON_GO "${candidate}")
        set(ERLANG_PYTHON_GO_TOOLCHAIN local)
        break()
    elseif(version)
        set(go_too_old "${candidate} is Go ${version}, ")
        if(version VERSION_GREATER_EQUAL 1.21)
            list(APPEND can_fetch "${candidate}")
        endif()
    endif()
endforeach()

if(NOT ERLANG_PYTHON_GO)
    foreach(candidate IN LISTS can_fetch)
        execute_process(COMMAND "${candidate}" env GOTOOLCHAIN
            OUTPUT_VARIABLE setting ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
        if(setting MATCHES "^local")
            go_version(version "${candidate}" "GOTOOLCHAIN=${go_toolchain}" GOPROXY=off)
        else()
            go_version(version "${candidate}" "GOTOOLCHAIN=${go_toolchain}")
        endif()
        if(version VERSION_GREATER_EQUAL go_oldest)
            set(ERLANG_PYTHON_GO "${candidate}")
            set(ERLANG_PYTHON_GO_TOOLCHAIN "${go_toolchain}")
            break()
        endif()
    endforeach()
endif()

if(NOT ERLANG_PYTHON_GO)
    erlang_python_stop("${go_too_old}Go ${go_oldest} or newer not found: install it (${go_packages}, or https://go.dev/dl).")
endif()
