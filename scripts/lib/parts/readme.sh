# shellcheck shell=bash
# The part "readme": runs the SQL of README.md and of the pages of docs/, and the commands of README.md. The part "format" looks
# whether their links lead somewhere.

# The pages, from the top of the tree.
documents() {
  (cd "$tree" && find README.md docs -name '*.md' 2>/dev/null | sort)
}

# Runs every block marked sql of each page, from top to bottom. Each page has its own server.
check_readme() {
  needs_extension readme || return 0
  local pages=$directory/pages page blocks
  mkdir -p "$pages/docs"
  for page in $(documents); do
    blocks=$pages/$page
    mkdir "$blocks"
    awk -v directory="$blocks" '
      /^```sql$/ { file = sprintf("%s/line-%04d.sql", directory, FNR); print "" >file; next }
      /^```$/ { file = ""; next }
      file != "" { print >file }' "$tree/$page"
    [[ -n $(ls "$blocks") ]] || continue
    hand_over "$pages"
    say "readme: $page, $(find "$blocks" -name '*.sql' | wc -l) blocks of SQL"
    run_page "$page" "$blocks"
  done
  follow_readme
}

# From the clone to the first call, by the commands of README.md.
follow_readme() {
  local scratch=$directory/newcomer bring=$directory/newcomer/bring/srv
  may_use_layer 'readme: nobody follows "Install it" of README.md' || return 0
  mkdir -p "$bring/wee5_cron" "$bring/objects"
  copy_sources "$bring/wee5_cron"
  (cd "$tree" && find src -name '*.[od]' | tar --create --files-from=- build-stamp) | tar --extract --directory="$bring/objects"
  touch "$bring/a_layer"
  say 'readme: following "Install it" of README.md'
  # Without other networks, because the page uses the usual ports, which this system may use, too.
  # shellcheck disable=SC2016  # expanded by the inner bash
  count_in_layer readme "$scratch" unshare --net bash -c 'ip link set lo up && PATH=$1:$PATH &&
    exec /srv/wee5_cron/scripts/lib/newcomer /srv/wee5_cron "$2" /srv/objects' newcomer "$(dirname "$node")" "$postgres_major"
}

# run_page <page> <directory of its blocks>: runs and counts them.
run_page() {
  local page=$1 blocks=$2 block server_log=$log/readme-${1//\//-}
  for block in $(page_server "$page" "$blocks" 2>"$server_log"); do
    case "$block" in
      passed:*) count_passed ;;
      *)
        count_failed "$page, the SQL at ${block#failed:}"
        sed 's/^/   | /' "$blocks/${block#failed:}.log"
        ;;
    esac
  done
  if ! compgen -G "$blocks/*.log" >/dev/null; then
    count_failed "no SQL of $page was run"
    tail -n 40 "$server_log" | sed 's/^/   | /'
  fi
}

# Replaces the server of the previous page by a new one, made from the same initdb.
fresh_page_cluster() {
  cluster=$directory/page-server
  if [[ ! -d $cluster ]]; then
    as_owner mkdir "$cluster"
    cluster_create "$cluster" < <(settings_with_pg_cron)
    as_owner mv "$cluster/data" "$cluster/untouched"
  fi
  cluster_bin=$("$pg_config" --bindir)
  as_owner rm -rf "$cluster/data" "$cluster/app" "$cluster/server.log"
  as_owner cp -R "$cluster/untouched" "$cluster/data"
}

# Prints passed:<block> or failed:<block> for each. Runs in a subshell, because it has its own server and app to stop, and
# because the functions that start them exit if they fail.
page_server() (
  page=$1 blocks=$2
  cluster=''
  app_pid=''
  trap 'example_app_stop; cluster_stop "$cluster"; as_owner cat "$cluster/server.log" >&2' EXIT
  {
    fresh_page_cluster
    cluster_start "$cluster"
    example_app_start "$cluster" change-me
    cluster_psql "$cluster" --command='CREATE DATABASE app' </dev/null
    # These two pages install the extension. Readers of the others have installed it.
    case "$page" in
      README.md | docs/installation.md) ;;
      *)
        cluster_psql "$cluster" --dbname=app <<SQL
CREATE EXTENSION pg_cron;
CREATE EXTENSION wee5_cron;
SELECT wee5_cron.configure('$app_url', 'change-me');
SQL
        ;;
    esac
  } >&2
  # Replaces the address in the pages by that of the app.
  sed -i "s|http://localhost:3000|$app_url|" "$blocks"/*.sql
  for file in "$blocks"/*.sql; do
    block=$(basename "$file" .sql)
    if cluster_psql "$cluster" --dbname=app <"$file" >"$blocks/$block.log" 2>&1; then
      echo "passed:$block"
    else
      echo "failed:$block"
    fi
  done
)

# Our own Markdown files, without those of npm packages.
links_lead_somewhere() {
  local pages
  mapfile -t pages < <(cd "$tree" && find . -name '*.md' -not -path '*/node_modules/*' -not -path './build*' | sort)
  in_tree scripts/lib/check_links "${pages[@]}"
}
