# shellcheck shell=bash
# Builds examples/next, and runs its tests with a PostgreSQL that calls it. Then supabase-js and tools of ORMs use the same database.

# with_node <node> <directory of the tree> <command...>: in that directory, with that node first in PATH.
with_node() {
  # shellcheck disable=SC2016  # expanded by the inner bash
  in_tree bash -c 'export PATH="$1:$PATH" NEXT_TELEMETRY_DISABLED=1 && cd "$2" && shift 2 && "$@"' with_node "$(dirname "$1")" "${@:2}"
}

# check_next_app <node>: packages/wee5-cron has been built, and is installed from there.
check_next_app() {
  local result counted=0
  needs_extension 'examples/next' || return 0
  install_from_npm examples/next || return 0
  install_from_npm test/orms || return 0
  say "package: examples/next is built and called, with node $("$1" --version)"
  count_command 'production build of examples/next' "$log/next-build" with_node "$1" examples/next npx --no-install next build || return 0
  for result in $(next_app_tests "$1" 2>"$log/next-server"); do
    counted=$((counted + 1))
    count_node "${result%=*}" "${result#*=}" "$log/${result%=*}" || true
  done
  ((counted == 2)) || { count_failed 'examples/next: its server did not start'; tail -n 40 "$log/next-server" | sed 's/^/   | /'; }
}

# Prints next=<status> and orms=<status>. In a subshell, because it has a server to stop, and because the functions that start
# it exit if they fail.
next_app_tests() (
  cluster=$directory/next-server
  trap 'cluster_stop "$cluster"; as_owner cat "$cluster/server.log" >&2' EXIT
  {
    as_owner mkdir "$cluster"
    cluster_create "$cluster" < <(settings_with_pg_cron)
    cluster_start "$cluster"
    cluster_psql "$cluster" --command='CREATE DATABASE app'
  } >&2
  url="postgres:///app?host=$cluster&port=$cluster_port&user=$owner" status=0
  with_node "$1" examples/next env "SUPERUSER_URL=$url" node --test --test-reporter=tap test/app.test.mjs >"$log/next" 2>&1 </dev/null || status=$?
  echo "next=$status"
  # What drizzle-kit finds are the extensions and the jobs, without the tables of the app.
  cluster_psql "$cluster" --dbname=app --command='DROP OWNED BY activities' >&2
  status=0
  with_node "$1" test/orms env "DATABASE_URL=$url" node --test --test-concurrency=1 --test-reporter=tap drizzle.test.mjs supabase.test.mjs >"$log/orms" 2>&1 </dev/null || status=$?
  echo "orms=$status"
)
