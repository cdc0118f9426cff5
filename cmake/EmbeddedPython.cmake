# The Python to embed. Sets
#
#   ERLANG_PYTHON_EXECUTABLE    what sys.executable will be
#   ERLANG_PYTHON_VERSION       3.12.1
#   ERLANG_PYTHON_INCLUDE_DIR   folder of Python.h
#   ERLANG_PYTHON_LIBRARY       full path of the shared libpython
#   ERLANG_PYTHON_LIBRARY_DIR   its folder
#
# A build keeps the interpreter that PYTHON named until another one is named (or PYTHON is set and empty), so that a
# later `rebar3 shell` without the variable does not switch back; without PYTHON it is looked up again each time.
set(python_oldest 3.11)

if(DEFINED ENV{PYTHON})
    set(PYTHON "$ENV{PYTHON}" CACHE STRING "Python interpreter to embed" FORCE)
else()
    set(PYTHON "" CACHE STRING "Python interpreter to embed")
endif()

# FindPython3 remembers what it found, and would go on to mix it with another interpreter.
function(forget_python)
    get_cmake_property(names CACHE_VARIABLES)
    foreach(name IN LISTS names)
        if(name MATCHES "^_?Python3_" AND NOT name STREQUAL "Python3_EXECUTABLE")
            unset("${name}" CACHE)
        endif()
    endforeach()
endfunction()

set(Python3_FIND_STRATEGY LOCATION)
# `python3` before `python3.13`: the order of PATH decides, as in a shell.
set(Python3_FIND_UNVERSIONED_NAMES FIRST)

set(python_packages "Debian, Ubuntu: apt-get install python3 python3-dev")

if(PYTHON)
    find_program(python_candidate NAMES "${PYTHON}" NO_CACHE)
    if(NOT python_candidate)
        erlang_python_stop("PYTHON=${PYTHON} is not an executable: name a Python ${python_oldest} or newer.")
    endif()
else()
    # The search costs a second, and every build asks; it can only end differently when one of these differs.
    set(python_search "$ENV{PATH};$ENV{VIRTUAL_ENV};$ENV{CONDA_PREFIX};${Python3_EXECUTABLE};${CMAKE_VERSION}")
    if(NOT python_search STREQUAL "${ERLANG_PYTHON_SEARCH}" OR NOT EXISTS "${ERLANG_PYTHON_SEARCH_RESULT}")
        forget_python()
        find_package(Python3 ${python_oldest} QUIET COMPONENTS Interpreter)
        set(ERLANG_PYTHON_SEARCH "${python_search}" CACHE INTERNAL "")
        set(ERLANG_PYTHON_SEARCH_RESULT "${Python3_EXECUTABLE}" CACHE INTERNAL "")
    endif()
    if(NOT ERLANG_PYTHON_SEARCH_RESULT)
        erlang_python_stop("no Python ${python_oldest} or newer found: install it (${python_packages}) or name one with PYTHON=/path/to/python3.")
    endif()
    set(python_candidate "${ERLANG_PYTHON_SEARCH_RESULT}")
endif()

# The interpreter itself knows best. sys.executable looks through the shims of pyenv, and stays inside of a virtual
# environment, whose folders FindPython3 does not need to know.
set(python_query [[
import os, sys, sysconfig
get = sysconfig.get_config_var
def library():
    names = [get('INSTSONAME'), get('LDLIBRARY'), 'libpython%s.so' % get('LDVERSION'), 'libpython%s.dylib' % get('LDVERSION')]
    folders = [get('LIBDIR'), os.path.join(sys.base_prefix, 'lib'), get('PYTHONFRAMEWORKPREFIX')]
    for folder in filter(None, folders):
        for name in filter(None, names):
            path = os.path.join(folder, name)
            if not name.endswith('.a') and os.path.isfile(path):
                return path
    return ''
print(sys.implementation.name)
print('.'.join(map(str, sys.version_info[:3])))
print(sys.executable)
print(sys.base_prefix)
print(sysconfig.get_path('include'))
print(library())
]])
execute_process(COMMAND "${python_candidate}" -I -c "${python_query}"
    OUTPUT_VARIABLE python_answer RESULT_VARIABLE python_result ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
string(REPLACE "\n" ";" python_answer "${python_answer};")
list(LENGTH python_answer python_answer_length)
if(NOT python_result EQUAL 0 OR python_answer_length LESS 6)
    erlang_python_stop("${python_candidate} does not run as a Python 3: name another one with PYTHON=/path/to/python3.")
endif()
list(GET python_answer 0 python_implementation)
list(GET python_answer 1 ERLANG_PYTHON_VERSION)
list(GET python_answer 2 ERLANG_PYTHON_EXECUTABLE)
list(GET python_answer 3 python_base_prefix)
list(GET python_answer 4 ERLANG_PYTHON_INCLUDE_DIR)
list(GET python_answer 5 ERLANG_PYTHON_LIBRARY)

if(NOT python_implementation STREQUAL "cpython" OR ERLANG_PYTHON_VERSION VERSION_LESS python_oldest)
    erlang_python_stop("${ERLANG_PYTHON_EXECUTABLE} is ${python_implementation} ${ERLANG_PYTHON_VERSION}: CPython ${python_oldest} or newer is needed, name one with PYTHON=/path/to/python3.")
endif()

string(REGEX MATCH "^[0-9]+\\.[0-9]+" python_minor "${ERLANG_PYTHON_VERSION}")
if(NOT EXISTS "${ERLANG_PYTHON_INCLUDE_DIR}/Python.h")
    erlang_python_stop("Python ${ERLANG_PYTHON_VERSION} (${ERLANG_PYTHON_EXECUTABLE}) has no Python.h: install its development files (Debian, Ubuntu: apt-get install python${python_minor}-dev).")
endif()
if(NOT ERLANG_PYTHON_LIBRARY)
    erlang_python_stop("Python ${ERLANG_PYTHON_VERSION} (${ERLANG_PYTHON_EXECUTABLE}) has no shared libpython: install it (Debian, Ubuntu: apt-get install libpython${python_minor}-dev; pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install ${ERLANG_PYTHON_VERSION}) or name another with PYTHON=/path/to/python3.")
endif()

# FindPython3's own checks of what can be embedded, given the answers above; once for the same answers.
if(NOT python_answer STREQUAL "${ERLANG_PYTHON_CHECKED}")
    forget_python()
    set(Python3_EXECUTABLE "${ERLANG_PYTHON_EXECUTABLE}")
    set(Python3_INCLUDE_DIR "${ERLANG_PYTHON_INCLUDE_DIR}")
    set(Python3_LIBRARY "${ERLANG_PYTHON_LIBRARY}")
    set(Python3_ROOT_DIR "${python_base_prefix}")
    find_package(Python3 ${ERLANG_PYTHON_VERSION} EXACT QUIET COMPONENTS Interpreter Development.Embed)
    if(NOT Python3_Development.Embed_FOUND)
        erlang_python_stop("Python ${ERLANG_PYTHON_VERSION} (${ERLANG_PYTHON_EXECUTABLE}) cannot be embedded, ${ERLANG_PYTHON_INCLUDE_DIR} and ${ERLANG_PYTHON_LIBRARY} do not belong together: install its development files (Debian, Ubuntu: apt-get install python${python_minor}-dev).")
    endif()
    set(ERLANG_PYTHON_CHECKED "${python_answer}" CACHE INTERNAL "")
endif()

get_filename_component(ERLANG_PYTHON_LIBRARY_DIR "${ERLANG_PYTHON_LIBRARY}" DIRECTORY)
