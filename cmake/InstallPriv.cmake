# cmake -DPRIV=<folder> -DPYTHON_SOURCES=<folder> -DLIBRARIES=<list> -P InstallPriv.cmake
#
# Makes PRIV hold the libraries and, under python/, what PYTHON_SOURCES holds; touches only what differs.
cmake_policy(VERSION 3.22)

# By a new file and a rename: writing into the old one would change the code under a BEAM that has it loaded.
function(install_file source target)
    if(EXISTS "${target}")
        file(SHA256 "${source}" source_sum)
        file(SHA256 "${target}" target_sum)
        if(source_sum STREQUAL target_sum)
            return()
        endif()
    endif()
    get_filename_component(folder "${target}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    file(COPY_FILE "${source}" "${target}.new")
    file(RENAME "${target}.new" "${target}")
endfunction()

foreach(library IN LISTS LIBRARIES)
    get_filename_component(name "${library}" NAME)
    install_file("${library}" "${PRIV}/${name}")
endforeach()

set(python_target "${PRIV}/python")
file(GLOB_RECURSE wanted LIST_DIRECTORIES true RELATIVE "${PYTHON_SOURCES}" "${PYTHON_SOURCES}/*")
list(FILTER wanted EXCLUDE REGEX "(^|/)(__pycache__|\\.[^/]*_cache)(/|$)|\\.pyc$")
foreach(name IN LISTS wanted)
    if(NOT IS_DIRECTORY "${PYTHON_SOURCES}/${name}")
        install_file("${PYTHON_SOURCES}/${name}" "${python_target}/${name}")
    endif()
endforeach()

# A removed module or package would stay importable. Bytecode beside modules that are still there may stay.
file(GLOB_RECURSE present LIST_DIRECTORIES true RELATIVE "${python_target}" "${python_target}/*")
foreach(name IN LISTS present)
    if(name MATCHES "(^|/)__pycache__(/|$)" OR name IN_LIST wanted)
        continue()
    endif()
    file(REMOVE_RECURSE "${python_target}/${name}")
endforeach()
