# The portable edition is one SQL file: it installs, upgrades and refuses, as a migration, in psql and as one string.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Doctor;
use Wee5Cron::Hosted;

my $file = Wee5Cron::Hosted->portable_file;
my $text = slurp_file($file);
cmp_ok(length $text, '<', 900 * 1024, 'the file is smaller than 900 kB, so that it fits into the SQL editor');
unlike($text, qr/^\\/m, '... and contains no command of psql');
unlike($text, qr/MODULE_PATHNAME|\@extschema\@|\@version\@|pg_extension_config_dump/, '... and nothing that only CREATE EXTENSION knows');

# A host loads safeupdate, which refuses UPDATE and DELETE without WHERE.
my @changing = ($text =~ s/--[^\n]*//gr) =~ /\b(UPDATE wee5_cron\.\w+.*?|DELETE FROM .*?)(?=;|\$query\$|' (?:USING|INTO))/gs;
is(join("\n", grep { !/\bWHERE\b/ } @changing), '', 'every UPDATE and DELETE has a WHERE');
cmp_ok(scalar @changing, '>', 50, '... and the test has found them');

my $node = Wee5Cron::Hosted->start_new('main', bare => 1);

# Runs the whole file and expects an error.
sub refused {
    my ($name, $sqlstate, $message, $hint, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my (undef, $error) = $node->run_script($text, %params);
    return fields_are($error // {}, { sqlstate => $sqlstate, message => $message, hint => $hint }, $name);
}
refused('without pg_cron and pg_net', '55000', qr/needs pg_cron and pg_net in this database/, qr/CREATE EXTENSION pg_cron; CREATE EXTENSION pg_net;/);
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron'"), 0, '... and nothing of it is left');
$node->add_extensions;

$node->safe_psql('postgres', 'CREATE SCHEMA wee5_cron AUTHORIZATION authenticator');
refused('a schema of that name', '42P06', qr/schema wee5_cron already exists/, qr/DROP SCHEMA wee5_cron/);
$node->safe_psql('postgres', 'DROP SCHEMA wee5_cron');

$node->as_owner('CREATE FUNCTION public.invoke_cron_endpoint(text) RETURNS bigint LANGUAGE sql AS $$ SELECT 1::bigint $$');
refused('the hand-written function', '42723', qr/public\.invoke_cron_endpoint\(text\)/, qr/put this line before the first one of this file.*DROP FUNCTION public\.invoke_cron_endpoint\(text\);/s);
$node->as_owner('CREATE ROLE with_schemas; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO anon, with_schemas WITH GRANT OPTION');
my (undef, $error) = $node->run_script($text);
my ($line) = $error->{hint} =~ /(DROP FUNCTION .*;)/;
is(($node->run_script("$line\n$text"))[1], undef, '... and after the line of its hint the file moves to this edition');

is($node->safe_psql('postgres', q{SELECT string_agg(r.rolname, ' ') FROM pg_roles r WHERE r.rolname IN ('anon', 'with_schemas') AND has_schema_privilege(r.oid, 'wee5_cron', 'USAGE, CREATE')}), '', 'no role gets what default privileges grant on new schemas');
is($node->as_owner('SELECT wee5_cron.edition()'), 'portable', 'postgres, who is not a superuser, can install it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, '... and it makes no job before configure()');
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', '... and no call can be made yet', role => 'postgres', message => qr/has not been armed/, hint => qr/wee5_cron\.configure/);
is($node->as_owner("SELECT current_setting('search_path') || current_setting('check_function_bodies')"), '"$user", publicon', "... and the session's settings are unchanged");

my $dump = sub { return $node->safe_psql('postgres', <<'SQL') };
SELECT string_agg(md5(pg_get_functiondef(p.oid)) || coalesce(p.proacl::text, '-'), ',' ORDER BY p.oid) FROM pg_proc p WHERE p.pronamespace = 'wee5_cron'::regnamespace;
SELECT string_agg(c.oid::text || c.relname || coalesce(c.relacl::text, '-') || coalesce(pg_get_viewdef(c.oid), ''), ',' ORDER BY c.oid) FROM pg_class c WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind <> 'v' OR c.relname = 'job_status';
SELECT string_agg(attrelid || attname || atttypid, ',' ORDER BY attrelid, attnum) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE c.relnamespace = 'wee5_cron'::regnamespace;
SQL

# Again: in one transaction, statement by statement, and as one string.
my $before = $dump->();
like($node->install_portable, qr/^wee5_cron [\d.]+, the portable edition\|SELECT wee5_cron\.configure/m, 'the last line of its output has the version and the next step');
is($dump->(), $before, 'a second run changes nothing');
my (undef, $failed, $said) = $node->run_script($text, single => 0);
is($failed, undef, 'a run that commits each statement succeeds');
is($said, '', '... and prints nothing about objects that exist');
is($dump->(), $before, '... and changes nothing');
SKIP: {
    my $program = PostgreSQL::Test::Utils::tempdir() . '/one_string';
    my ($include, $lib) = map { my $dir = `pg_config --$_`; chomp $dir; $dir } qw(includedir libdir);
    skip 'libpq has no headers here', 6 unless -e "$include/libpq-fe.h";
    system_or_bail('cc', "-I$include", '-o', $program, "$FindBin::RealBin/../support/one_string.c", "-L$lib", '-lpq');
    is(system($program, $node->connstr('postgres') . ' user=postgres', $file), 0, 'an editor that sends the file as one string can run it');
    is($dump->(), $before, '... and that changes nothing');
    # As a runner of migrations: it splits the file at semicolons outside of quotes and comments.
    my @statements = ('');
    while ($text =~ /(--[^\n]*|\/\*.*?\*\/|\$(\w*)\$.*?\$\g2\$|'(?:[^']|'')*'|"(?:[^"]|"")*"|.)/gs) {
        if ($1 eq ';') { push @statements, '' }
        else { $statements[-1] .= $1 }
    }
    @statements = grep { !/\A(?:\s|--[^\n]*)*\z/ } @statements;
    cmp_ok(scalar @statements, '>', 1000, 'the file has more than a thousand statements');
    my $migration = PostgreSQL::Test::Utils::tempdir() . '/migration';
    my $limits    = join '', map { "-c $_ " } 'statement_timeout=8s', 'idle_in_transaction_session_timeout=8s', 'lock_timeout=8s', 'default_transaction_isolation=serializable';
    local $ENV{PGOPTIONS} = $limits;
    append_to_file($migration, join '', map { "$_\0" } 'BEGIN', @statements, 'COMMIT');
    is(system($program, $node->connstr('postgres') . ' user=postgres', $migration), 0, 'a runner of migrations that sends statement by statement can run it, within the limits of a host');
    is($dump->(), $before, '... and that changes nothing');
    append_to_file("$migration.fresh", join '', map { "$_\0" } 'BEGIN', 'SELECT wee5_cron.uninstall()', @statements, 'ROLLBACK');
    is(system($program, $node->connstr('postgres') . ' user=postgres', "$migration.fresh"), 0, '... also where nothing is installed yet');
    is($dump->(), $before, '... and its rollback leaves nothing');
}

# Settings that a session may have.
for my $set ("search_path = pg_catalog, pg_temp", $node->standard_strings_off) {
    my ($name, $value) = split / = /, $set;
    my ($shown, $trouble) = $node->run_script("SET $set;\n$text\nSHOW $name; SHOW check_function_bodies;");
    is($trouble && $trouble->{text}, undef, "the file runs in a session with $set");
    like($shown, qr/^\Q$value\E\non\Z/m, '... and leaves that setting unchanged');
    is($dump->(), $before, '... and changes nothing');
}

# Grants.
$node->as_owner("CREATE ROLE app LOGIN; SELECT wee5_cron.grant_to('app', 'call'); GRANT EXECUTE ON FUNCTION public.invoke_cron_endpoint(text) TO anon; GRANT SELECT ON wee5_cron.invocation TO authenticated");
$node->install_portable;
is($node->safe_psql('postgres', <<'SQL'), '', 'each run revokes what PUBLIC, anon, authenticated and service_role have');
SELECT r.rolname, o.what FROM pg_roles r CROSS JOIN LATERAL (
  SELECT p.oid::regprocedure::text FROM pg_proc p WHERE (p.pronamespace = 'wee5_cron'::regnamespace OR p.proname = 'invoke_cron_endpoint') AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
  UNION ALL
  SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
) AS o (what) WHERE r.rolname IN ('anon', 'authenticated', 'service_role', 'authenticator')
SQL
is($node->safe_psql('postgres', "SELECT has_function_privilege('app', 'public.invoke_cron_endpoint(text)', 'EXECUTE')"), 't', '... and keeps what grant_to() granted');

# The rules of a database linter.
is($node->safe_psql('postgres', <<'SQL'), 'run', 'every function pins its search_path, except run(), which commits and cannot');
SELECT string_agg(p.proname, ',') FROM pg_proc p
WHERE (p.pronamespace = 'wee5_cron'::regnamespace OR p.oid = 'public.invoke_cron_endpoint(text)'::regprocedure)
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%')
SQL
is($node->safe_psql('postgres', <<'SQL'), 'armed,arming,cancellation', 'every table has a primary key, except those that a replica must be able to write');
SELECT string_agg(c.relname, ',' ORDER BY c.relname) FROM pg_class c
WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
SQL

# Postgres refuses subtransactions in a parallel query.
is($node->safe_psql('postgres', <<'SQL'), '', 'no function that a parallel query may call has a block with EXCEPTION, or calls one that has');
WITH RECURSIVE ours AS (
  -- Without comments and literals: hints contain names of functions, too.
  SELECT p.proname::text COLLATE "C" AS name, p.proparallel,
         regexp_replace(p.prosrc, '''(?:[^'']|'''')*''|--[^\n]*', '', 'g') AS code
  FROM pg_proc p WHERE p.pronamespace = 'wee5_cron'::regnamespace
), unsafe AS (
  SELECT o.name, o.proparallel FROM ours o WHERE o.code ~ '\mEXCEPTION\s+WHEN'
  UNION
  SELECT o.name, o.proparallel FROM unsafe u JOIN ours o ON o.code ~ ('wee5_cron\.' || u.name || '\(')
)
SELECT string_agg(DISTINCT u.name, ',') FROM unsafe u WHERE u.proparallel <> 'u'
SQL

# Another role, and a newer version.
$node->safe_psql('postgres', 'CREATE ROLE other LOGIN SUPERUSER');
refused('another role', '42501', qr/belongs to role "postgres"/, qr/SET ROLE postgres;/, role => 'other');
$node->as_owner('CREATE OR REPLACE FUNCTION wee5_cron.library_version() RETURNS text LANGUAGE sql PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$ SELECT \'99.1.0\' $$');
refused('a newer version stands', '55000', qr/wee5_cron 99\.1\.0 is installed/, qr/version 99\.1\.0 or a newer one/);
$node->as_owner('CREATE OR REPLACE FUNCTION wee5_cron.library_version() RETURNS text LANGUAGE sql PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$ SELECT \'0.0.1\' $$');
# The older version's functions had other parameters and results; a user built on some of them, and granted some.
my $catalogue = <<'SQL';
SELECT string_agg(x.what, E'\n' ORDER BY x.what) FROM (
  SELECT format('%s %s %s', p.oid::regprocedure, pg_get_function_result(p.oid), array(SELECT a::text FROM unnest(p.proacl) a WHERE a::text !~ '^postgres=' ORDER BY 1)) AS what
  FROM pg_proc p WHERE p.pronamespace = 'wee5_cron'::regnamespace AND p.proname <> 'library_version'
  UNION ALL SELECT format('%s %s', c.oid::regclass, array(SELECT a::text FROM unnest(c.relacl) a WHERE a::text !~ '^postgres=' ORDER BY 1))
  FROM pg_class c WHERE c.relnamespace = 'wee5_cron'::regnamespace) x (what)
SQL
# A table and a function are both called claim.
$node->as_owner("SELECT wee5_cron.grant_to('app', 'read')");
my $older = $node->safe_psql('postgres', $catalogue);
# It has a history, policies, settings and jobs.
$node->as_owner(<<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, reason, error, http_status, attempts, finished_at, response_body)
SELECT '/of/' || s, 'pg_net', s, r, e, h, 1, now(), 'body' FROM (VALUES ('succeeded', NULL, NULL, 200), ('failed', 'http', 'HTTP 500', 500)) v (s, r, e, h);
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, next_attempt_at, due_at, key) VALUES ('/later', 'pg_net', 'queued', now() + interval '1 day', now() + interval '1 day', 'k');
INSERT INTO wee5_cron.attempt (invocation_id, attempt, http_status) SELECT id, 1, http_status FROM wee5_cron.invocation WHERE http_status IS NOT NULL;
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_delays, note) VALUES ('/of/failed', '{1 hour}', 'kept');
SELECT wee5_cron.set('keep_failed', '60d');
SELECT wee5_cron.schedule('nightly', '0 3 * * *', '/nightly'), wee5_cron.pause('nightly', 'for a while');
SELECT wee5_cron.claim('00000000-0000-4000-8000-000000000001'), wee5_cron.complete('00000000-0000-4000-8000-000000000001');
SQL
sub rows_of_all { return join "\n", map { $node->as_owner("SELECT t FROM wee5_cron.$_ t ORDER BY t::text") } qw(invocation attempt endpoint job claim trouble setting background_task) }
my $rows = rows_of_all();
cmp_ok(scalar(() = $rows =~ /\n/g), '>', 9, 'the older version has rows');
$node->as_owner(<<'SQL');
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO other;
CREATE VIEW public.of_a_user AS SELECT job_name, state FROM wee5_cron.job_status;
DROP FUNCTION wee5_cron.harvest();
CREATE FUNCTION wee5_cron.harvest(older int DEFAULT 1) RETURNS text LANGUAGE sql AS $$ SELECT 'older' $$;
DROP FUNCTION wee5_cron.most_in_one_harvest();
CREATE FUNCTION wee5_cron.most_in_one_harvest() RETURNS text LANGUAGE sql AS $$ SELECT 'older' $$;
CREATE FUNCTION wee5_cron.of_the_older_version() RETURNS text LANGUAGE sql AS $$ SELECT 'older' $$;
REVOKE EXECUTE ON FUNCTION wee5_cron.harvest(int), wee5_cron.most_in_one_harvest(), wee5_cron.of_the_older_version() FROM PUBLIC, other;
SQL
# The upgrade stops halfway, where each statement is committed by itself.
my ($half) = $text =~ /\A(.*?^COMMENT ON FUNCTION wee5_cron\.secrets_of\(name\).*?;\n)/ms;
is(($node->run_script($half, single => 0))[1], undef, 'an upgrade is interrupted');
$node->raises('postgres', "SELECT wee5_cron.secrets_of('app')", '42501', '... and no role can execute functions whose grants have not been set', role => 'app');
$node->install_portable;
isnt($node->as_owner('SELECT wee5_cron.library_version()'), '0.0.1', 'an older version is upgraded');
is($node->safe_psql('postgres', $catalogue), $older, '... and its grants are kept');
is(rows_of_all(), $rows, '... and so are its rows');
is($node->as_owner('SELECT wee5_cron.harvest()'), 0, '... and its functions work');
$node->raises('postgres', 'SELECT wee5_cron.trimmed(NULL)', '42501', '... without the right to execute others', role => 'app');
$node->as_owner('ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM other');

# Removing it.
$node->as_owner("SELECT wee5_cron.configure('https://app.example.com', 'a secret of thirty-two characters')");
$node->as_owner("SELECT wee5_cron.configure(cron_secret => 'another one of thirty-two characters')");
is($node->safe_psql('postgres', 'SELECT count(*) FROM vault.secrets'), 3, 'before uninstall() Vault has three secrets, including the previous one');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 5, 'configure() makes the three jobs and the harvest job, and keeps that of the user');
$node->raises('postgres', 'SELECT wee5_cron.uninstall()', '2BP01', "uninstall() does not drop what a user built on wee5_cron", role => 'postgres', message => qr/^other objects depend on wee5_cron/, hint => qr/Drop them first/);
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 5, '... and then leaves everything as it was');
$node->as_owner('DROP VIEW public.of_a_user; SELECT wee5_cron.uninstall()');
is($node->safe_psql('postgres', <<'SQL'), '0|0|0|0', 'uninstall() leaves no schema, function, job or secret');
SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron'), (SELECT count(*) FROM pg_proc WHERE proname = 'invoke_cron_endpoint'),
       (SELECT count(*) FROM cron.job), (SELECT count(*) FROM vault.secrets)
SQL
is(($node->run_script($text))[1], undef, '... and the file can be installed again');

# A project may have an event trigger that enables row-level security for each new table.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION public.rls_auto_enable() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE made record;
BEGIN
  FOR made IN SELECT c.object_identity FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag = 'CREATE TABLE' AND c.object_type = 'table' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made.object_identity);
  END LOOP;
END $$;
CREATE EVENT TRIGGER ensure_rls ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.rls_auto_enable();
SQL
$node->as_owner('SELECT wee5_cron.uninstall()');
is(($node->run_script($text))[1], undef, 'the file runs in spite of such a trigger');
is($node->safe_psql('postgres', "SELECT bool_and(c.relrowsecurity) FROM pg_class c WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'r'"), 't', '... which acts on each table');
$node->as_owner("SELECT wee5_cron.set('default_jobs', 'off'); SELECT wee5_cron.configure('https://app.example.com', 'a secret of thirty-two characters'); SELECT wee5_cron.invoke('/x')");
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
{
    local $ENV{PGUSER} = 'postgres';
    is($node->as_owner('SELECT wee5_cron.harvest() FROM wee5_cron.invocation'), 0, '... and calls are made');
    $doctor->green('ledger_readers', 'while no role may read');
    $node->as_owner("SELECT wee5_cron.grant_to('app', 'read')");
    is($node->psql_as('app', 'postgres', 'SELECT count(*) FROM wee5_cron.invocation'), 0, '... but roles that may read see nothing');
    $doctor->red_then_green('ledger_readers', 'warning', qr/^row-level security hides all rows of wee5_cron\.armed, wee5_cron\.attempt, .* from role app$/, 'the event trigger');
    is($node->psql_as('app', 'postgres', 'SELECT count(*) FROM wee5_cron.invocation'), 1, '... and then the role sees the call');
}
$node->safe_psql('postgres', 'DROP EVENT TRIGGER ensure_rls; DROP FUNCTION public.rls_auto_enable()');
$node->as_owner('SELECT wee5_cron.uninstall()');
is(($node->run_script($text))[1], undef, 'without the trigger the file runs again');

# What users build on the functions of expose_api(), and put into their schema.
my $expose = q{SELECT split_part(wee5_cron.expose_api(role => 'other'), ' ', 1)};
my $functions = $node->as_owner($expose);
$node->as_owner('CREATE VIEW public.states AS SELECT j.job_name, j.state FROM wee5_cron_public.job_status() j');
is($node->as_owner($expose), $functions, 'expose_api() runs again although a view uses one of its functions');
is($node->as_owner('SELECT count(*) FROM public.states'), 0, '... and the view goes on working');
$node->raises('postgres', 'SELECT wee5_cron.uninstall()', '2BP01', 'uninstall() does not drop the view', role => 'postgres', message => qr/^other objects depend on function wee5_cron_public\.job_status\(\)/, hint => qr/^Drop them first, then: SELECT wee5_cron\.uninstall\(\);/);
$node->as_owner('DROP VIEW public.states; CREATE TABLE wee5_cron_public.notes (note text)');
my $kept = $node->error_of('postgres', 'SELECT wee5_cron.uninstall()', role => 'postgres');
fields_are($kept, { sqlstate => '2BP01', message => qr/^schema "wee5_cron_public" contains other objects$/, detail => qr/table wee5_cron_public\.notes depends on schema wee5_cron_public/, hint => qr/Drop them or move them/ }, '... nor a table in their schema');
is($node->as_owner($expose), $functions, '... and leaves everything as it was');
$node->as_owner('DROP TABLE wee5_cron_public.notes');
like($node->error_of('postgres', 'DROP SCHEMA wee5_cron_public', role => 'postgres')->{hint}, qr/CASCADE/, 'the schema is dropped with CASCADE');
is($node->error_of('postgres', 'DROP SCHEMA wee5_cron_public CASCADE; SELECT wee5_cron.doctor()', role => 'postgres'), undef, '... and wee5_cron goes on working');
is($node->as_owner($expose), $functions, '... and expose_api() makes it again');
is($node->error_of('postgres', 'SELECT wee5_cron.uninstall()', role => 'postgres'), undef, 'uninstall() drops it with wee5_cron');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'wee5_cron%'"), 0, '... without a trace');
is(($node->run_script($text))[1], undef, '... and the file runs again');

# The function outside the schema was dropped, and then replaced by a hand-written one.
$node->as_owner("DROP FUNCTION public.invoke_cron_endpoint(text); SELECT wee5_cron.set('default_jobs', 'off')");
is($node->error_of('postgres', "SELECT wee5_cron.configure('https://app.example.com', 'a secret of thirty-two characters'); SELECT wee5_cron.invoke('/x')", role => 'postgres'), undef, 'without public.invoke_cron_endpoint() the database can be armed and makes calls');
is($node->as_owner("SELECT status || ' ' || hint FROM wee5_cron.doctor() WHERE check_name = 'namesakes'"), 'error -- run wee5_cron--portable.sql again', '... and doctor() says how to get it back');
$node->raises('postgres', "SELECT wee5_cron.grant_to('app', 'call')", '42883', '... and grant_to() names it', role => 'postgres', message => qr/^function public\.invoke_cron_endpoint\(text\) does not exist/);
$node->as_owner('CREATE FUNCTION public.invoke_cron_endpoint(text) RETURNS bigint LANGUAGE sql AS $$ SELECT 1::bigint $$; SELECT wee5_cron.uninstall()');
is($node->as_owner("SELECT public.invoke_cron_endpoint('/x')"), 1, 'uninstall() keeps a function of that name that is not its own');
$node->as_owner('DROP FUNCTION public.invoke_cron_endpoint(text)');

SKIP: {
    skip 'the extension wee5_cron is not installed on this server', 1 unless $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'wee5_cron'");
    $node->safe_psql('postgres', 'CREATE EXTENSION wee5_cron');
    refused('where the extension is installed', '55000', qr/the extension wee5_cron is installed/, qr/ALTER EXTENSION wee5_cron UPDATE/);
}
$node->log_is_sane;
done_testing();
