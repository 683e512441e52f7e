# For scripts/check: rules that the code keeps in one place, as long as nobody writes them a second time.
# shellcheck shell=bash disable=SC2154  # $tree is that of scripts/check

# finds_nothing <option and argument of grep...>: fails if grep finds something, and shows it. Also fails if grep does.
finds_nothing() {
  local status=0
  LC_ALL=C grep -rn "$@" || status=$?
  ((status == 1))
}

# Postgres reads the script of an extension in the database's encoding.
sql_is_ascii() (
  cd "$tree"
  finds_nothing -P '[^\x00-\x7f]' --include='*.sql' sql/common sql/native sql/portable sql/updates
)

# A hint that shows such a query gives the table no alias.
cron_history_in_one_place() (
  cd "$tree"
  finds_nothing -E '\<(FROM|JOIN|INTO|UPDATE|USING) cron\.job_run_details( [a-z]|$)' --exclude=46_cron_history.sql \
    sql/common sql/native sql/portable src include
)

# Whether they are passed by value depends on the platform, and only a 32-bit one would notice.
arrays_in_one_place() {
  finds_nothing -E '\<construct_array.*(INT8OID|TIMESTAMPTZOID|FLOAT8OID)' "$tree/src/pg"
}

# A timestamp counts from 2000, core and delivery count from 1970; an interval has months and days.
times_in_one_place() (
  cd "$tree"
  status=0
  finds_nothing -E '_EPOCH_JDATE|\<(timestamptz_to_time_t|time_t_to_timestamptz|pg_gmtime|pg_strftime|DAYS_PER_MONTH|USECS_PER_DAY)\>' \
    --include='*.cpp' --include='*.h' --exclude=unix_time.h src/pg include/wee5_cron/pg || status=1
  # A metric is a fraction of seconds. Whole numbers since 1970 are what the twins count in.
  finds_nothing -E "946684800|timestamptz '1970|extract\(epoch FROM [^)]*\)+ \* 1000000|trunc\(extract\(epoch" \
    --exclude=05_unix_time.sql sql/common sql/native sql/portable || status=1
  exit "$status"
)

# The first file of the portable edition asks before there is a function.
installed_in_one_place() (
  cd "$tree"
  status=0
  finds_nothing -E 'Anum_pg_extension|ExtensionNameIndexId|get_extension_oid|getExtensionOfObject' \
    --include='*.cpp' --include='*.h' --exclude='pg_extension_lookup.*' src/pg include/wee5_cron/pg || status=1
  finds_nothing -E 'EXISTS \(SELECT FROM (pg_catalog\.)?pg_extension' \
    --exclude=01_members_of_extensions.sql --exclude=00_schema.sql sql/common sql/native sql/portable || status=1
  finds_nothing -E "belongs_to_extension\('pg_class', to_regclass\('(cron|net)\." \
    --exclude=37_other_extensions.sql sql/common sql/native sql/portable || status=1
  exit "$status"
)

# What differs is a function that sql/native and sql/portable define, each for itself. People read the edition in a metric, and
# doctor() leaves out the checks of the other one.
editions_differ_by_definitions() (
  cd "$tree"
  finds_nothing -P "(?<!'edition', )(?<!t\.edition = )wee5_cron\.edition\(\)" sql/common
)

state_is_listed() (
  cd "$tree"
  scripts/lib/check_state src/{pg,delivery,core} include/wee5_cron/{pg,delivery,core}
)

named_files_are_there() (
  cd "$tree"
  find src include sql/common sql/native sql/portable sql/updates scripts test bench packaging -type f -not -path '*/node_modules/*' \
    -not -name '*.d' -exec grep -lI . {} + | sort | xargs scripts/lib/check_named_files
)
