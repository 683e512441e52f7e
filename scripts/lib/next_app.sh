# shellcheck shell=bash
# Builds examples/next, and runs its tests with a PostgreSQL for each edition that calls it. Then supabase-js, ORMs and their tools
# use the database of the native edition.

# with_node <node> <directory of the tree> <command...>: in that directory, with that node first in PATH.
with_node() {
  # shellcheck disable=SC2016  # expanded by the inner bash
  in_tree bash -c 'export PATH="$1:$PATH" NEXT_TELEMETRY_DISABLED=1 && cd "$2" && shift 2 && "$@"' with_node "$(dirname "$1")" "${@:2}"
}

# check_next_app <node>: packages/wee5-cron has been built, and is installed from there.
check_next_app() {
  local edition result counted=0 begun=()
  needs_extension 'examples/next' || return 0
  install_from_npm examples/next || return 0
  install_from_npm test/orms || return 0
  # A browser is driven by one of these. Without them, that test is skipped by name.
  prepare_npm_packages || true
  say "package: examples/next is built, and called by both editions, with node $("$1" --version)"
  count_command 'production build of examples/next' "$log/next-build" with_node "$1" examples/next npx --no-install next build || return 0
  # Both wait for a tick: at the same time.
  for edition in native portable; do
    next_app_tests "$1" "$edition" >"$log/next-$edition.results" 2>"$log/next-$edition-server" &
    begun+=("$!")
  done
  wait "${begun[@]}" || true
  for edition in native portable; do
    while IFS= read -r result; do
      counted=$((counted + 1))
      count_node "${result%=*}" "${result#*=}" "$log/${result%=*}" || true
    done <"$log/next-$edition.results"
    grep -q "^next-$edition=" "$log/next-$edition.results" ||
      { count_failed "examples/next: the server of the $edition edition did not start"; tail -n 40 "$log/next-$edition-server" | sed 's/^/   | /'; }
  done
  ((counted == 3)) || count_failed "examples/next: $counted of 3 groups of tests ran"
}

# Settings of a server for an edition. The portable one needs no library of ours, and pg_net. Where that is not installed, a
# stand-in of the tests sends.
settings_of_edition() {
  local libraries=pg_cron
  if [[ $1 == native ]]; then settings_with_pg_cron; return; fi
  if [[ -e $("$pg_config" --pkglibdir)/pg_net.so ]]; then
    libraries+=,pg_net
    echo "pg_net.database_name = 'app'"
  fi
  settings_with_pg_cron | sed "s/^shared_preload_libraries = .*/shared_preload_libraries = '$libraries'/"
}

# next_app_tests <node> <edition>: prints next-<edition>=<status>, and for the native one orms=<status>. In a subshell, because it
# has a server to stop, and because the functions that start it exit if they fail.
next_app_tests() (
  cluster=$directory/next-$2
  trap 'cluster_stop "$cluster"; as_owner cat "$cluster/server.log" >&2' EXIT
  {
    as_owner mkdir "$cluster"
    cluster_create "$cluster" < <(settings_of_edition "$2")
    cluster_start "$cluster"
    cluster_psql "$cluster" --command='CREATE DATABASE app'
  } >&2
  url="postgres:///app?host=$cluster&port=$cluster_port&user=$owner" status=0
  with_node "$1" examples/next env "SUPERUSER_URL=$url" "EDITION=$2" node --test --test-reporter=tap test/app.test.mjs >"$log/next-$2" 2>&1 </dev/null || status=$?
  echo "next-$2=$status"
  if [[ $2 == native ]]; then
    # What these tools find are the extensions and the jobs, without the tables of the app.
    cluster_psql "$cluster" --dbname=app --command='DROP OWNED BY activities' >&2
    status=0
    time_limit=1200 with_node "$1" test/orms env "DATABASE_URL=$url" node --test --test-concurrency=1 --test-reporter=tap drizzle.test.mjs prisma.test.mjs supabase.test.mjs >"$log/orms" 2>&1 </dev/null || status=$?
    echo "orms=$status"
  fi
)
