# shellcheck shell=bash
# Runs pg_regress with every process of the server under valgrind.

# valgrind_bindir <directory> <log directory>: makes a directory with PostgreSQL's programs, in which `postgres` runs the
# server under valgrind. The servers that initdb starts run without it: they run no code of ours.
valgrind_bindir() {
  local directory=$1 reports=$2 program server
  server=$("$pg_config" --bindir)
  mkdir -p "$directory" "$reports"
  for program in "$server"/*; do ln -s "$program" "$directory/"; done
  rm "$directory/postgres"
  {
    echo '#!/bin/sh'
    cat <<WRAPPER
case " \$* " in
  *' -D '*)
    case " \$* " in *' --single '* | *' --boot '* | *' --check '*) ;;
      *)
        exec valgrind --quiet --trace-children=yes --leak-check=no \\
          --suppressions="$tree/test/valgrind.supp" --gen-suppressions=all --log-file="$reports/%p" "$server/postgres" "\$@" ;;
    esac ;;
esac
exec "$server/postgres" "\$@"
WRAPPER
  } >"$directory/postgres"
  chmod +x "$directory/postgres"
}
