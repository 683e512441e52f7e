# shellcheck shell=bash
# A private PostgreSQL cluster in a directory of its own. initdb and postgres refuse to run as root: as root the cluster
# belongs to an unprivileged user, otherwise to whoever runs the script.

# Sets owner and owner_command, which runs its arguments as that user. It does not use runuser, which would stay as a parent
# process in between and get the signals instead.
choose_owner() {
  owner_command=()
  if ((EUID != 0)); then
    owner=$(id -un)
    return
  fi
  for owner in postgres nobody ''; do
    if [[ -n $owner ]] && id -u "$owner" >/dev/null 2>&1; then break; fi
  done
  [[ -n $owner ]] || give_up 'there is no unprivileged user to run PostgreSQL as'
  owner_command=(setpriv "--reuid=$(id -u "$owner")" "--regid=$(id -g "$owner")" --init-groups --)
}

as_owner() {
  "${owner_command[@]}" "$@"
}

# The calling shell's settings could lead psql and initdb to another server.
forget_postgres_environment() {
  local name
  for name in "${!PG@}"; do
    # PG_MAJOR and PG_CONFIG are ours, not libpq's.
    if [[ $name != PG_* ]]; then unset "$name"; fi
  done
}

# Creates a directory in /tmp that belongs to the owner and prints its name. It is not in TMPDIR, because the path of a
# socket has at most 107 bytes, and the owner must be able to enter every directory above.
owners_directory() {
  local directory
  directory=$(mktemp --directory "/tmp/$1.XXXXXX")
  if ((EUID == 0)); then chown "$owner:" "$directory"; fi
  echo "$directory"
}

# cluster_create <directory>: initdb, with the pg_hba.conf that Debian gives to a new cluster. Settings for
# postgresql.conf come on standard input.
cluster_create() {
  local directory=$1 data=$1/data
  cluster_bin=$("$pg_config" --bindir)
  (cd "$directory" && as_owner "$cluster_bin/initdb" --pgdata="$data" --username="$owner" --auth=trust --encoding=UTF8 \
    --locale=C.UTF-8 --no-sync --no-instructions) >"$directory/initdb.log" 2>&1 ||
    { cat "$directory/initdb.log" >&2; give_up 'initdb failed'; }
  as_owner tee "$data/pg_hba.conf" >/dev/null <<-'HBA'
	local   all             postgres                                peer
	local   all             all                                     peer
	host    all             all             127.0.0.1/32            scram-sha-256
	host    all             all             ::1/128                 scram-sha-256
	HBA
  {
    # The directory is private to its owner, and so is the socket in it.
    echo "unix_socket_directories = '$directory'"
    echo "listen_addresses = '127.0.0.1'"
    cat
  } | as_owner tee -a "$data/postgresql.conf" >/dev/null
}

# Prints the settings of a server that has both extensions, in the database `app`.
settings_with_pg_cron() {
  cat <<'CONF'
shared_preload_libraries = 'pg_cron,wee5_cron'
cron.database_name = 'app'
cron.use_background_workers = on
max_worker_processes = 16
fsync = off
CONF
}

# cluster_start <directory>: starts it on a free port and sets cluster_port. The server itself reports whether a port was
# free; checking first would be a race.
cluster_start() {
  local directory=$1 attempt
  for attempt in 1 2 3 4 5; do
    cluster_port=$((20000 + RANDOM % 10000))
    # Otherwise the log file alone would keep the script's own output open.
    if (cd "$directory" && as_owner "$cluster_bin/pg_ctl" --pgdata="$directory/data" --log="$directory/server.log" \
      --options="-p $cluster_port" --wait --silent start) >/dev/null 2>&1 </dev/null; then
      return
    fi
    as_owner grep -q 'Address already in use' "$directory/server.log" || break
    say "port $cluster_port was taken (attempt $attempt), trying another one"
    as_owner truncate -s 0 "$directory/server.log"
  done
  give_up 'the PostgreSQL server did not start'
}

# cluster_stop <directory>: stops it, whatever its state is; silent if it does not run.
cluster_stop() {
  local directory=$1
  [[ -f $directory/data/postmaster.pid ]] || return 0
  (cd "$directory" && as_owner "$cluster_bin/pg_ctl" --pgdata="$directory/data" --mode=fast --timeout=20 --silent stop) \
    >/dev/null 2>&1 ||
    (cd "$directory" && as_owner "$cluster_bin/pg_ctl" --pgdata="$directory/data" --mode=immediate --silent stop) \
      >/dev/null 2>&1 || true
}

# cluster_psql <directory> [psql option...]: runs standard input, and stops at the first error. The statements never appear
# in the arguments of a process, where ps shows them.
cluster_psql() {
  local directory=$1
  shift
  (cd "$directory" && as_owner "$cluster_bin/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host="$directory" \
    --port="$cluster_port" --username="$owner" --dbname=postgres "$@")
}
