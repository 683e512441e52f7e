# shellcheck shell=bash
# Builds examples/next, and runs its tests with a PostgreSQL that calls it.

# in_next_app <node> <command...>: in its directory, with that node first in PATH.
in_next_app() {
  # shellcheck disable=SC2016  # expanded by the inner bash
  in_tree bash -c 'cd examples/next && export PATH="$1:$PATH" NEXT_TELEMETRY_DISABLED=1 && shift && "$@"' next "$(dirname "$1")" "${@:2}"
}

# check_next_app <node>: packages/wee5-cron has been built, and is installed from there.
check_next_app() {
  local status=0
  needs_extension 'examples/next' || return 0
  install_from_npm examples/next || return 0
  say "package: examples/next is built and called, with node $("$1" --version)"
  count_command 'production build of examples/next' "$log/next-build" in_next_app "$1" npx --no-install next build || return 0
  next_app_tests "$1" >"$log/next" 2>&1 </dev/null || status=$?
  count_node 'examples/next' "$status" "$log/next" || true
}

# In a subshell, because it has a server to stop, and because the functions that start it exit if they fail.
next_app_tests() (
  cluster=$directory/next-server
  as_owner mkdir "$cluster"
  trap 'cluster_stop "$cluster"; as_owner cp "$cluster/server.log" "$log/next-server"' EXIT
  cluster_create "$cluster" <<'CONF'
shared_preload_libraries = 'pg_cron,wee5_cron'
cron.database_name = 'app'
cron.use_background_workers = on
max_worker_processes = 16
fsync = off
CONF
  cluster_start "$cluster"
  cluster_psql "$cluster" --command='CREATE DATABASE app'
  in_next_app "$1" env "SUPERUSER_URL=postgres:///app?host=$cluster&port=$cluster_port&user=$owner" node --test --test-reporter=tap test/app.test.mjs
)
