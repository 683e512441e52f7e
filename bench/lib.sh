# shellcheck shell=bash
# Shared by the benchmarks: a private PostgreSQL with the extension, a local nginx, and the output of one line per figure.

bench_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$bench_root/scripts/lib/progress.sh"
. "$bench_root/scripts/lib/packages.sh"
. "$bench_root/scripts/lib/sources.sh"
. "$bench_root/scripts/lib/cluster.sh"

bench_directory=''
bench_build=''
nginx_pid=''

bench_clean_up() {
  local status=$?
  trap '' INT TERM HUP
  worker_goes_on
  nginx_stop
  if [[ -n $bench_directory ]]; then
    cluster_stop "$bench_directory"
    cluster_stop "$bench_directory/many"
    cluster_stop "$bench_directory/portable"
    if [[ -n ${BENCH_KEEP:-} ]]; then say "kept: $bench_directory" >&2; else rm -rf "$bench_directory"; fi
  fi
  if [[ -n $bench_build ]]; then rm -rf "$bench_build"; fi
  exit "$status"
}

# bench_prepare [package...]: installs its packages and these, builds and installs the extension, and builds the programs of bench/, unless
# BENCH_INSTALLED says that the extension is installed already; BENCH_TOOLS names a directory with built programs.
bench_prepare() {
  forget_postgres_environment
  choose_versions
  trap bench_clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  choose_owner
  install_missing_packages "postgresql-$postgres_major" \
    "postgresql-server-dev-$postgres_major" libcurl4-openssl-dev libpq-dev g++ make cmake ninja-build nginx \
    libnginx-mod-http-echo openssl "$@" >&2
  bench_install_extension
  bench_tools=${BENCH_TOOLS:-$bench_build/tools}
  say 'building the programs of bench/' >&2
  { cmake -S "$bench_root" -B "$bench_tools" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DWEE5_BENCH=ON &&
    cmake --build "$bench_tools" --target wee5_bench; } >"$bench_build/tools.log" 2>&1 ||
    { tail -n 40 "$bench_build/tools.log" >&2; give_up 'the programs of bench/ could not be built'; }
  bench_directory=$(owners_directory wee5_cron_bench)
}

# Builds the extension in its own directory and installs it, unless BENCH_INSTALLED says that it is there already.
bench_install_extension() {
  bench_build=$(mktemp --directory /tmp/wee5_cron_bench_build.XXXXXX)
  if [[ -z ${BENCH_INSTALLED:-} ]]; then
    copy_sources "$bench_build"
    say "building the extension for PostgreSQL $postgres_major" >&2
    make -C "$bench_build" -j"$(nproc)" PG_CONFIG="$pg_config" >"$bench_build/build.log" 2>&1 ||
      { tail -n 40 "$bench_build/build.log" >&2; give_up 'the build failed'; }
    as_root make -C "$bench_build" PG_CONFIG="$pg_config" install >"$bench_build/install.log" 2>&1 ||
      { tail -n 40 "$bench_build/install.log" >&2; give_up 'make install failed'; }
  fi
}

# Starts a server with the settings of a busy site. Everything is durable: fsync is on.
bench_start_server() {
  local peer=''
  if pg_net_there; then peer=,pg_net; fi
  cluster_create "$bench_directory" <<CONF
shared_preload_libraries = 'pg_stat_statements,wee5_cron$peer'
max_worker_processes = 16
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 30min
wee5_cron.max_in_flight = 64
${bench_server_settings:-}
CONF
  cluster_start "$bench_directory"
  # The programs of bench/ connect as root, because only the owner can read the socket's directory.
  echo "local all all trust" | as_owner tee "$bench_directory/data/pg_hba.conf" >/dev/null
  as_owner "$cluster_bin/pg_ctl" --pgdata="$bench_directory/data" --silent reload
  bench_set_connection
}

# Call it after each start: the port changes.
bench_set_connection() { bench_connection="host=$bench_directory port=$cluster_port user=$owner dbname=postgres"; }

bench_create_extension() {
  sql "CREATE EXTENSION IF NOT EXISTS pg_stat_statements" >/dev/null
  sql "SET client_min_messages = warning; CREATE EXTENSION wee5_cron" >/dev/null
  set_api_url "http://127.0.0.1:$nginx_port"
  sql "ALTER DATABASE postgres SET app.settings.cron_secret = '$bench_secret'" >/dev/null
}
bench_secret=bench-secret-0123456789abcdef

set_api_url() { sql "ALTER DATABASE postgres SET app.settings.api_url = '$1'" >/dev/null; }

# Runs one statement, and prints one value per line.
sql() { cluster_psql "$bench_directory" --no-align --tuples-only --command="$1" </dev/null; }

# bench_client <mode> [argument...]: see client.cpp.
bench_client() { "$bench_tools/bench/bench_client" "$bench_connection" "$@"; }

# nginx_start: answers 200 at once, /slow after ten seconds; http on nginx_port, TLS on nginx_tls_port.
nginx_start() {
  local directory=$bench_directory/nginx modules=/usr/lib/nginx/modules attempt
  as_owner mkdir -p "$directory"
  (cd "$directory" && as_owner openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null)
  for attempt in 1 2 3 4 5; do
    nginx_port=$((30000 + RANDOM % 2000))
    nginx_tls_port=$((nginx_port + 2000))
    as_owner tee "$directory/nginx.conf" >/dev/null <<CONF
load_module $modules/ngx_http_echo_module.so;
worker_processes 1;
daemon off;
pid $directory/nginx.pid;
error_log $directory/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000;
  keepalive_timeout 60s;
  client_body_temp_path $directory/body; proxy_temp_path $directory/proxy; fastcgi_temp_path $directory/fastcgi;
  uwsgi_temp_path $directory/uwsgi; scgi_temp_path $directory/scgi;
  server {
    listen 127.0.0.1:$nginx_port backlog=4096;
    listen 127.0.0.1:$nginx_tls_port ssl backlog=4096;
    ssl_certificate cert.pem; ssl_certificate_key key.pem;
    location / { default_type application/json; return 200 '{"ok":true}'; }
    location /slow { default_type text/plain; echo_sleep 10; echo ok; }
    location /some { default_type text/plain; echo_sleep 0.1; echo ok; }
  }
}
CONF
    (cd "$directory" && exec "${owner_command[@]}" nginx -p "$directory" -e "$directory/error.log" -c nginx.conf) \
      >/dev/null 2>&1 </dev/null &
    nginx_pid=$!
    for _ in $(seq 50); do
      if (: </dev/tcp/127.0.0.1/"$nginx_tls_port") 2>/dev/null && kill -0 "$nginx_pid" 2>/dev/null; then return; fi
      sleep 0.1
    done
  done
  cat "$directory/error.log" >&2
  give_up 'nginx did not start'
}

nginx_stop() {
  if [[ -n $nginx_pid ]]; then
    kill "$nginx_pid" 2>/dev/null || true
    wait "$nginx_pid" 2>/dev/null || true
    nginx_pid=''
  fi
}

worker_pid() { sql "SELECT pid FROM wee5_cron.worker WHERE datname = current_database()"; }
launcher_pid() { sql "SELECT pid FROM pg_stat_activity WHERE backend_type = 'wee5_cron launcher'"; }

# So that only the callers are measured.
stopped_worker=''
worker_stands_still() {
  until stopped_worker=$(sql "SELECT pid FROM wee5_cron.worker WHERE pid IS NOT NULL AND state = 'idle'") &&
    [[ -n $stopped_worker ]]; do
    sleep 0.1
  done
  as_owner kill -STOP "$stopped_worker"
}
worker_goes_on() {
  if [[ -n $stopped_worker ]]; then as_owner kill -CONT "$stopped_worker" 2>/dev/null || true; fi
  stopped_worker=''
}

# --- arithmetic and printing -------------------------------------------------------------------------------------

calculate() { awk "BEGIN { printf \"${2:-%.2f}\", $1 }"; }
holds() { awk "BEGIN { exit !($1) }"; }

# Median length of an fdatasync of 8 kB where the server writes its log, in milliseconds.
fsync_ms() { "$bench_tools/bench/bench_fsync" "$bench_directory/data"; }
load_now() { cut -d' ' -f1 /proc/loadavg; }

declare -i rows_missed=0
row_header() {
  printf '%-52s %18s %8s %14s  %-6s %9s %6s\n' what figure ratio target verdict 'fsync ms' load
}
# row <what> <figure> <ratio or -> <target, or - for another program's figure> <condition that awk can judge>
row() {
  local verdict=met
  holds "$5" || { verdict=MISSED; rows_missed+=1; }
  if [[ $4 == - ]]; then verdict=-; fi
  printf '%-52s %18s %8s %14s  %-6s %9s %6s\n' "$1" "$2" "$3" "$4" "$verdict" "$(fsync_ms)" "$(load_now)"
}
