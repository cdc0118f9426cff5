#!/bin/sh
# venv.sh <name> <requirements file>: prints the folder of a virtual environment of the Python that the build is for,
# made when it is missing or was made for another Python or other requirements.
set -eu
cd "$(dirname "$0")/.."
python=$(cat _build/cmake/python-executable)
folder=$PWD/_build/$1
wanted="$("$python" -VV) $python $(cat "$2")"
if [ ! -e "$folder/made-for" ] || [ "$(cat "$folder/made-for")" != "$wanted" ]; then
    rm -rf "$folder"
    "$python" -m venv "$folder" >&2
    "$folder/bin/python" -m pip install -q --disable-pip-version-check -r "$2" >&2
    echo "$wanted" >"$folder/made-for"
fi
echo "$folder"
