#!/bin/sh
# Uses this project as its users do who write Elixir: a fresh Mix project with it as the only dependency, from git by a
# file:// address. Runs the marked blocks of docs/elixir.md in that project, then the main job in a release of it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)

folder=$(mktemp -d)
keep() {
    echo "failed; the application is in $folder" >&2
    trap - EXIT
    exit 1
}
trap keep EXIT

files=$(sh "$root/scripts/tracked-files.sh" "$folder/erlang_python")
echo "application: $folder/app, dependency: $files files of $root"

mkdir -p "$folder/app/lib" "$folder/app/config" "$folder/home"
cd "$folder/app"
cat >mix.exs <<END
defmodule App.MixProject do
  use Mix.Project

  def project do
    [app: :app, version: "1.0.0", elixir: "~> 1.14", deps: deps()]
  end

  def application, do: [extra_applications: [:logger]]

  defp deps do
    [{:erlang_python, git: "file://$folder/erlang_python", branch: "main", manager: :rebar3}]
  end
end
END
cat >config/config.exs <<'END'
import Config
config :erlang_python, none_atom: nil
END
cat >lib/app.ex <<'END'
defmodule App do
  def run do
    {:ok, 4.0} = :py_event_loop.run(:math, :sqrt, [16.0])
    {:ok, nil} = :py_event_loop.run(:asyncio, :sleep, [0.1])
    IO.puts("main job: ok, libraries in #{:code.priv_dir(:erlang_python)}")
  end
end
END
# The blocks that are marked as run, in their order.
awk '
    /^<!-- run -->$/ { marked = 1; next }
    marked && /^```elixir$/ { inside = 1; marked = 0; next }
    /^```$/ { if (inside) print ""; inside = 0; next }
    inside { print }
' "$root/docs/elixir.md" >blocks.exs
[ -s blocks.exs ] || { echo "docs/elixir.md has no marked blocks" >&2; exit 1; }
echo 'IO.puts("docs/elixir.md: ok")' >>blocks.exs

export ERL_CRASH_DUMP="$folder/erl_crash.dump"
# The cache of Go stays where it is.
GOCACHE=${GOCACHE:-$(go env GOCACHE 2>/dev/null || :)}
[ -z "$GOCACHE" ] || export GOCACHE
# Neither the settings nor the rebar3 of whoever runs this.
export MIX_HOME="$folder/home" MIX_REBAR3="${MIX_REBAR3:-$(command -v rebar3)}" MIX_ENV=prod LANG=C.UTF-8 LC_ALL=C.UTF-8
unset ERL_LIBS

# git's progress is of no interest unless it fails.
mix deps.get >deps.log 2>&1 || { cat deps.log >&2; exit 1; }
mix compile --warnings-as-errors
mix run blocks.exs
mix run -e 'App.run()'

mix release --quiet
# What the release does not contain itself must not be found in the build folder.
mv _build/prod/rel/app "$folder/release"
cd /
rm -rf "$folder/app" "$folder/erlang_python"
"$folder/release/bin/app" eval '{:ok, _} = Application.ensure_all_started(:app); App.run()'

trap - EXIT
rm -rf "$folder"
echo "as Mix dependency and in a release: ok"
