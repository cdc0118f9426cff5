#!/bin/sh
# Makes a git repository of the tracked files of this project, as they are in the working tree: a file that somebody
# forgot to add is missing, a change that is not committed yet counts.
#
#   scripts/tracked-files.sh <folder>       prints how many files there are
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
folder=$1

# `safe.directory`: continuous integration often runs as another user than the one who cloned.
git_here() { git -c safe.directory='*' -c user.name=tracked-files -c user.email=tracked-files@localhost "$@"; }
mkdir "$folder"
list=$(mktemp)
trap 'rm -f "$list"' EXIT
(cd "$root" && git_here ls-files -z | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || echo "$f"; done' sh) >"$list"
tar -C "$root" -cf - -T "$list" | tar -C "$folder" -xf -
git_here init -q -b main "$folder"
git_here -C "$folder" add -A
git_here -C "$folder" commit -q -m "The tracked files"
wc -l <"$list"
