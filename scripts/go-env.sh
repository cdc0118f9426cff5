#!/bin/sh
# Prints the environment of the Go build, for commands by hand in nif/:
#
#   eval "$(scripts/go-env.sh)" && cd nif && go vet ./...
set -eu
cd "$(dirname "$0")/.."
sh scripts/build.sh configure
cat _build/cmake/go.env
