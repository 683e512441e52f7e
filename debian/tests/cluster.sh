# shellcheck shell=bash
# A cluster as Debian makes it, configured as docs/installation.md says, and an app for it to call. For root.

cluster=wee5_cron_test
app_certificate=''
app_directory=''
app=''

# An app with one route, which asks for no secret. It speaks https if app_certificate names a file with a certificate and its
# key. Sets app_url.
app_start() {
  local port=''
  app_directory=$(mktemp --directory)
  mkdir "$app_directory/api"
  echo '{}' >"$app_directory/api/health"
  chmod -R a+rX "$app_directory"
  # Many calls come at once. By itself, Python's server has room for five connections that it has not accepted yet: the kernel
  # drops what comes beyond, and a request can wait until its call has timed out.
  (cd "$app_directory" && exec python3 -u -c '
import http.server, ssl, sys
http.server.ThreadingHTTPServer.request_queue_size = 1024
app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    app.socket = context.wrap_socket(app.socket, server_side=True)
print("port", app.server_port)
app.serve_forever()
' ${app_certificate:+"$app_certificate"}) >"$app_directory.log" 2>&1 &
  app=$!
  until port=$(sed -nE 's/^port ([0-9]+)$/\1/p' "$app_directory.log") && [[ -n $port ]]; do
    kill -0 "$app"
    sleep 0.1
  done
  app_url=http${app_certificate:+s}://127.0.0.1:$port
}

app_stop() {
  kill "$app" 2>/dev/null || true
  rm -rf "$app_directory" "$app_directory.log"
}

# cluster_create <version>: creates it, starts it, and creates the database app. Its pg_hba.conf stays as Debian writes it.
cluster_create() {
  version=$1
  pg_createcluster "$version" $cluster
  cat >>"/etc/postgresql/$version/$cluster/postgresql.conf" <<-'CONF'
	shared_preload_libraries = 'pg_cron,wee5_cron'
	cron.database_name = 'app'
	cron.use_background_workers = on
	max_worker_processes = 16
	CONF
  pg_ctlcluster "$version" $cluster start
  runuser -u postgres -- createdb --cluster "$version/$cluster" app
}

cluster_drop() {
  pg_dropcluster --stop "$version" $cluster
}

cluster_log() {
  tail -n 50 "/var/log/postgresql/postgresql-$version-$cluster.log"
}

# sql <statement>...: each in a transaction of its own. Prints the rows.
sql() {
  printf '%s;\n' "$@" |
    runuser -u postgres -- psql --cluster "$version/$cluster" --dbname app --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1
}

# Creates both extensions, with one job for each minute.
extensions_create() {
  sql 'CREATE EXTENSION pg_cron' 'CREATE EXTENSION wee5_cron' \
    "SELECT wee5_cron.configure('$app_url', 'the app does not ask for a secret')" 'SELECT wee5_cron.unregister_jobs()' \
    "SELECT wee5_cron.schedule('health', '* * * * *', '/api/health')" >/dev/null
}

# Makes a call and waits for it. Prints its outcome.
call_by_hand() {
  local id
  id=$(sql "SELECT invoke_cron_endpoint('/api/health')")
  sql "SELECT concat_ws(' ', status, http_status, error) FROM wee5_cron.wait_for($id)"
}

# Waits for a call that pg_cron makes after now, at a full minute. Prints its outcome.
call_at_tick() {
  local since outcome='' deadline=$((SECONDS + 130))
  since=$(sql 'SELECT coalesce(max(id), 0) FROM wee5_cron.invocation')
  while [[ -z $outcome ]] && ((SECONDS < deadline)); do
    sleep 1
    outcome=$(sql "SELECT concat_ws(' ', status, http_status, error) FROM wee5_cron.invocation
                   WHERE id > $since AND job_name = 'health' AND finished_at IS NOT NULL LIMIT 1")
  done
  echo "${outcome:-none; pg_cron says: $(sql 'SELECT status, return_message FROM cron.job_run_details ORDER BY runid DESC LIMIT 1')}"
}

# is <what there is> <what is expected> <name>: one test. Sets failed.
failed=''
is() {
  if [[ $1 == "$2" ]]; then
    echo "passed: $3"
  else
    echo "failed: $3: '$1', expected '$2'"
    failed=yes
  fi
}

# contains <what there is> <what it must contain> <name>: one test.
contains() {
  if [[ $1 == *"$2"* ]]; then is '' '' "$3"; else is "$1" "... $2 ..." "$3"; fi
}
