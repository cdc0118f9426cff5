# What `go build` needs in its environment.

# cgo_quote(<out> <flag>...): one string that Go splits into the same flags again. Go's rule is simpler than a shell's:
# a word may stand in single or in double quotes, and there is no escape character.
function(cgo_quote out)
    set(words "")
    foreach(flag IN LISTS ARGN)
        if(flag MATCHES "[ \t\"]")
            set(flag "'${flag}'")
        endif()
        list(APPEND words "${flag}")
    endforeach()
    string(JOIN " " line ${words})
    set(${out} "${line}" PARENT_SCOPE)
endfunction()

# cgo_environment(<out> NAME=VALUE...): the same list; stops on values that a CMake list cannot carry.
function(cgo_environment out)
    foreach(entry IN LISTS ARGN)
        if(NOT entry MATCHES "^[A-Z0-9_]+=")
            erlang_python_stop("a path contains a semicolon (${entry}): move the project or Python to a folder without one.")
        endif()
    endforeach()
    set(${out} ${ARGN} PARENT_SCOPE)
endfunction()

# cgo_environment_file(<file> <go> NAME=VALUE...): a file that a shell can read with `.`, which also puts that go first
# on PATH.
function(cgo_environment_file file go)
    get_filename_component(go_folder "${go}" DIRECTORY)
    set(text "export PATH='${go_folder}':\"$PATH\"\n")
    foreach(entry IN LISTS ARGN)
        string(FIND "${entry}" "=" position)
        string(SUBSTRING "${entry}" 0 ${position} name)
        math(EXPR position "${position} + 1")
        string(SUBSTRING "${entry}" ${position} -1 value)
        string(REPLACE "'" "'\\''" value "${value}")
        string(APPEND text "export ${name}='${value}'\n")
    endforeach()
    file(CONFIGURE OUTPUT "${file}" CONTENT "@text@" @ONLY)
endfunction()
