# The portable edition is one SQL file: it installs, upgrades and refuses, as a migration, in psql and as one string.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
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
    skip 'libpq has no headers here', 2 unless -e "$include/libpq-fe.h";
    system_or_bail('cc', "-I$include", '-o', $program, "$FindBin::RealBin/../support/one_string.c", "-L$lib", '-lpq');
    is(system($program, $node->connstr('postgres') . ' user=postgres', $file), 0, 'an editor that sends the file as one string can run it');
    is($dump->(), $before, '... and that changes nothing');
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
is($node->as_owner('SELECT wee5_cron.harvest()'), 0, '... and its functions work');
$node->raises('postgres', 'SELECT wee5_cron.trimmed(NULL)', '42501', '... without the right to execute others', role => 'app');
$node->as_owner('ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM other');

# Removing it.
$node->as_owner("SELECT wee5_cron.configure('https://app.example.com', 'a secret of thirty-two characters')");
$node->as_owner("SELECT wee5_cron.configure(cron_secret => 'another one of thirty-two characters')");
is($node->safe_psql('postgres', 'SELECT count(*) FROM vault.secrets'), 3, 'before uninstall() Vault has three secrets, including the previous one');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 4, 'configure() makes the three jobs and the harvest job');
$node->raises('postgres', 'SELECT wee5_cron.uninstall()', '2BP01', "uninstall() does not drop what a user built on wee5_cron", role => 'postgres', message => qr/^other objects depend on wee5_cron/, hint => qr/Drop them first/);
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 4, '... and then leaves everything as it was');
$node->as_owner('DROP VIEW public.of_a_user; SELECT wee5_cron.uninstall()');
is($node->safe_psql('postgres', <<'SQL'), '0|0|0|0', 'uninstall() leaves no schema, function, job or secret');
SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron'), (SELECT count(*) FROM pg_proc WHERE proname = 'invoke_cron_endpoint'),
       (SELECT count(*) FROM cron.job), (SELECT count(*) FROM vault.secrets)
SQL
is(($node->run_script($text))[1], undef, '... and the file can be installed again');

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
    refused('beside the extension', '55000', qr/the extension wee5_cron is installed/, qr/ALTER EXTENSION wee5_cron UPDATE/);
}
$node->log_is_sane;
done_testing();
