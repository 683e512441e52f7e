# doctor() on a broken database: whatever is locked, missing or foreign, each check has its line and none raises an error.
# No line contains the secret, and a long ledger costs no more than a short one.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Test;

use JSON::PP;

my $secret   = 'canary-of-the-doctor-2718';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('hello', '0 0 1 1 *', '/hello'), wee5_cron.schedule('world', '0 0 1 1 *', '/world')");
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
my %seen;
my @names = grep { !$seen{$_}++ } map { $_->{check_name} } $doctor->lines;

# In a transaction that is rolled back, after running `sql`: every check has a line. Returns the lines.
sub with {
    my ($sql, $name, $in) = @_;
    my ($status, $stdout, $stderr) = $node->psql($in // 'postgres', "BEGIN; $sql; SELECT 'line ' || to_json(d) FROM wee5_cron.doctor() d; ROLLBACK");
    is($status, 0, "$name: nothing is raised") or diag($stderr);
    my @lines = map { JSON::PP->new->decode($_) } $stdout =~ /^line (.*)$/mg;
    my %seen;
    is_deeply([ grep { !$seen{$_}++ } map { $_->{check_name} } @lines ], \@names, '... and every check has its line');
    unlike($stdout, qr/\Q$secret\E/, '... and no line contains the secret');
    return @lines;
}

sub failed {
    return { map { $_->{check_name} => $_ } grep { $_->{detail} =~ /^the check failed: / } @_ };
}

# Locks: doctor() does not wait for a session that has locked pg_cron's table.
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE cron.job');
my $failed = failed(with('', "another session has locked pg_cron's table"));
fields_are($failed->{jobs_made}, { status => 'error', detail => qr/lock timeout/, hint => qr/^SELECT \* FROM wee5_cron\.doctor_jobs\(\);/ }, 'a check that needs the locked table reports the lock timeout');
is($failed->{worker}, undef, 'a check that does not need the locked table works');
$holder->query_safe('ROLLBACK; BEGIN; LOCK TABLE wee5_cron.invocation');
$failed = failed(with('', 'another session has locked the ledger'));
fields_are($failed->{last_outcome}, { status => 'error', detail => qr/lock timeout/ }, 'a check that needs the ledger reports the lock timeout');
is($failed->{jobs_made}, undef, 'a check that does not need the ledger works');
$holder->query_safe('ROLLBACK');
$holder->quit;

# pg_cron's tables with other columns.
for my $sql ('ALTER TABLE cron.job RENAME COLUMN command TO gone', 'ALTER TABLE cron.job_run_details RENAME COLUMN status TO gone') {
    my $failed = failed(with($sql, $sql));
    ok(scalar(keys %$failed), 'some checks report that they failed');
    is($failed->{$_}, undef, "... but $_ works") for qw(cron_secret_readers worker callers ledger_history);
}
with('DROP EXTENSION pg_cron', 'pg_cron was dropped');
with(q{UPDATE pg_extension SET extname = 'was_pg_cron' WHERE extname = 'pg_cron'}, "pg_cron's tables belong to no extension");

# The library is missing on disk: each function in C fails.
is(scalar(keys %{ failed(with(q{UPDATE pg_proc SET probin = '$libdir/no_such_library' WHERE probin LIKE '%wee5_cron%'}, 'the library is missing on disk')) }) > 5 ? 1 : 0, 1, 'more than five checks report that they failed');

# An error that quotes the secret: the secret is redacted there, too.
my $lines = failed(with(<<"SQL", 'a check that fails with the secret in its error'));
CREATE OR REPLACE FUNCTION wee5_cron.doctor_namesakes() RETURNS SETOF wee5_cron.finding LANGUAGE plpgsql AS
  \$\$ BEGIN RAISE EXCEPTION 'before %s after', '$secret'; END \$\$
SQL
like($lines->{namesakes}{detail}, qr/before \[secret\]s after/, '... and the secret in the error is redacted');

# A job of a dropped role, a role with an odd name, a job without a name, odd values.
with(<<'SQL', 'odd jobs');
UPDATE cron.job SET username = 'who is that?' WHERE jobname = 'hello';
UPDATE cron.job SET jobname = NULL, command = E'SELECT invoke_cron_endpoint(\'/it\'\'s\n; \\! x\')' WHERE jobname = 'world';
INSERT INTO cron.job_run_details (jobid, runid, status, return_message) SELECT jobid, jobid, 'failed', NULL FROM cron.job
SQL
with(q{ALTER DATABASE postgres SET app.settings.api_url = 'http://[::1%25lo]:65536/%%%s%n'}, 'an odd address');
with(q{ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'; SET LOCAL wee5_cron.transport = 'pg_net'}, 'a transport that is not installed');
for my $database (qw(SQL_ASCII LATIN1)) {
    $node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$database' TEMPLATE template0 LOCALE 'C'");
    $node->install(lc $database, pg_cron => 0);
    $node->safe_psql(lc $database, 'ALTER DATABASE ' . lc($database) . " SET app.settings.api_url = E'https://b\\xfccher.example'");
    with('', "an address that is no ASCII in a database in $database", lc $database);
}

# The caller cannot change what doctor() reads: objects before pg_catalog in the search_path, settings of the session.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE reader LOGIN; SELECT wee5_cron.grant_to('reader', 'read');
CREATE SCHEMA trap AUTHORIZATION reader;
SQL
my $trapped = $node->psql_as('reader', 'postgres', 'SET ' . $node->standard_strings_off . ";\n" . <<'SQL');
CREATE FUNCTION trap.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT 'trapped' $$;
CREATE FUNCTION trap.current_database() RETURNS name LANGUAGE sql AS $$ SELECT 'trapped'::name $$;
CREATE TEMP TABLE pg_extension (extname name, oid oid);
CREATE TEMP VIEW pg_db_role_setting AS SELECT 'trapped'::text AS setconfig;
SET search_path = trap, pg_temp, pg_catalog; SET row_security = off; SET DateStyle = 'SQL, DMY';
SELECT pg_catalog.string_agg(pg_catalog.concat(detail, hint), ' ') FROM wee5_cron.doctor();
SQL
unlike($trapped // '', qr/trapped|the check failed/, 'a caller plants nothing in its way') or diag($trapped);

# doctor() can be cancelled, and it waits no longer than two seconds for each name that a resolver does not answer.
$node->raises('postgres', "SET statement_timeout = 1; SELECT count(*) FROM wee5_cron.doctor(), generate_series(1, 1000)", '57014', 'doctor() can be cancelled');

# A long ledger: the number of rows that doctor() reads does not grow with it. Some jobs have a third of the rows, others
# none.
$node->safe_psql('postgres', <<'SQL');
SELECT wee5_cron.schedule('never ' || n, '0 0 1 1 *', '/never') FROM generate_series(1, 20) n;
ALTER TABLE wee5_cron.invocation SET (autovacuum_enabled = off);
ALTER TABLE cron.job_run_details SET (autovacuum_enabled = off);
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_at, finished_at)
SELECT CASE n % 3 WHEN 0 THEN 'hello' WHEN 1 THEN 'world' END, '/' || n % 100, 'builtin', 'succeeded', now() - n * interval '1 second', now() - n * interval '1 second'
FROM generate_series(50000, 1, -1) n;
ANALYZE wee5_cron.invocation;
SQL
my $tuples = q{SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relid = 'wee5_cron.invocation'::regclass};
my $before = $node->safe_psql('postgres', $tuples);
$doctor->green('last_outcome', 'a long ledger');
cmp_ok($node->safe_psql('postgres', $tuples) - $before, '<', 10000, '... and doctor() reads only a small part of it');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET finished_at = NULL, status = 'retrying', next_attempt_at = now() + interval '1 day'");
$node->safe_psql('postgres', 'VACUUM wee5_cron.invocation');
$before = $node->safe_psql('postgres', $tuples);
$doctor->green('last_outcome', 'a long queue');
cmp_ok($node->safe_psql('postgres', $tuples) - $before, '<', 30000, '... and doctor() reads only a part of it');

$node->log_is_sane;
done_testing();
