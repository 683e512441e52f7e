# The mark that lets a database make calls: what it survives, and what removes it. A restore in every mode of pg_dump and
# pg_restore, logical replication and CREATE DATABASE ... TEMPLATE make copies that do not call. Maintenance, a crash, a
# prepared transaction and a base backup leave the original armed.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $tmp  = PostgreSQL::Test::Utils::tempdir();
# No slot for a worker: queued calls stay as they are while the test compares them.
my $conf = "max_worker_processes = 2\nwee5_cron.default_jobs = on\nmax_prepared_transactions = 5\n";
my $node = Wee5Cron::Node->start_new('origin', conf => $conf);
$node->configure('postgres', api_url => 'http://localhost:1', secret => 'the secret');
$node->safe_psql('postgres', q{CREATE EXTENSION pg_cron; SELECT cron.schedule('users own', '0 0 1 1 *', 'SELECT 1'); CREATE EXTENSION wee5_cron});
$node->safe_psql('postgres', q{UPDATE cron.job SET schedule = '0 0 1 1 *'; SELECT invoke_cron_endpoint('/queued')});

# The functions that others may rely on.
my $mark = <<'SQL';
SELECT count(*) = 2 AND count(DISTINCT xid::text) = 2 AND bool_and(xmin = xid) FROM wee5_cron.armed
WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
SQL
sub armed_is {
    my ($server, $database, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($server->safe_psql($database, "SELECT wee5_cron.is_armed(), coalesce(($mark), false)"), "$expected|$expected", $name);
    return;
}
sub disarmed_ok {
    my ($server, $database, $name, $message) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    armed_is($server, $database, 'f', $name);
    $server->raises($database, q{SELECT invoke_cron_endpoint('/x')}, '55000', "$name: a call is an error", message => $message // qr/makes no calls/, hint => qr/SELECT wee5_cron\.arm\(\);/);
    return;
}

armed_is($node, 'postgres', 't', 'a database is armed after CREATE EXTENSION');
is($node->safe_psql('postgres', q{SELECT bool_and(abs(a.xid::text::bigint - b.xid::text::bigint) > 1) FROM wee5_cron.armed a, wee5_cron.armed b WHERE a.xid <> b.xid}),
    't', "the transaction ids of the mark's two rows are not neighbours");
is($node->safe_psql('postgres', 'SELECT count(*), min(length(id)) FROM wee5_cron.arming'), '1|16', '... and 16 random bytes are stored with them');
is($node->safe_psql('postgres', q{SELECT relreplident, am.amname FROM pg_class c JOIN pg_am am ON am.oid = relam WHERE c.oid = 'wee5_cron.armed'::regclass}), 'f|heap',
    'wee5_cron.armed allows DELETE in a publication, and names its access method');

# What leaves the mark valid.
my %harmless = (
    'VACUUM'             => 'VACUUM wee5_cron.armed',
    'VACUUM FREEZE'      => 'VACUUM FREEZE wee5_cron.armed, wee5_cron.arming',
    'VACUUM FULL'        => 'VACUUM FULL wee5_cron.armed, wee5_cron.arming',
    'VACUUM FULL FREEZE' => 'VACUUM (FULL, FREEZE) wee5_cron.armed, wee5_cron.arming',
    'CLUSTER'            => 'CREATE INDEX a ON wee5_cron.armed (armed_at); CLUSTER wee5_cron.armed USING a; DROP INDEX wee5_cron.a',
    'ANALYZE'            => 'ANALYZE wee5_cron.armed',
    'a savepoint'        => 'BEGIN; SAVEPOINT s; DELETE FROM wee5_cron.armed; ROLLBACK TO s; COMMIT',
    'a row lock'         => 'BEGIN; SELECT FROM wee5_cron.armed FOR UPDATE; COMMIT',
);
for my $name (sort keys %harmless) {
    $node->psql('postgres', $_, on_error_die => 1) for split /; (?=CLUSTER|DROP INDEX)/, $harmless{$name};
    armed_is($node, 'postgres', 't', "armed after $name");
}
$node->restart_immediately;
armed_is($node, 'postgres', 't', 'armed after a crash');

# Where arm() can be used.
my %arms = (
    'under a savepoint'             => 'BEGIN; SAVEPOINT s; SELECT wee5_cron.arm(); RELEASE s; COMMIT',
    'in a block with EXCEPTION'     => 'DO $$ BEGIN BEGIN PERFORM wee5_cron.arm(); EXCEPTION WHEN division_by_zero THEN END; END $$',
    'after a savepoint rolled back' => 'BEGIN; SELECT txid_current(); SAVEPOINT s; DELETE FROM wee5_cron.armed; ROLLBACK TO s; SELECT wee5_cron.arm(); COMMIT',
    'at repeatable read'            => 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT wee5_cron.arm(); COMMIT',
    'serializable'                  => 'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT wee5_cron.arm(); COMMIT',
    'in a prepared transaction'     => q{BEGIN; SELECT wee5_cron.arm(); PREPARE TRANSACTION 'arm'},
);
for my $name (sort keys %arms) {
    $node->safe_psql('postgres', 'SELECT wee5_cron.disarm()');
    armed_is($node, 'postgres', 'f', 'disarmed');
    $node->safe_psql('postgres', $arms{$name});
    if ($name =~ /prepared/) {
        $node->restart_immediately;
        $node->safe_psql('postgres', q{COMMIT PREPARED 'arm'});
    }
    armed_is($node, 'postgres', 't', "the database is armed after arm() $name");
}

# What removes the mark.
my $keep = 'CREATE TABLE kept AS SELECT * FROM wee5_cron.armed';
my $rewritten = qr/^somebody has changed, copied or restored wee5_cron\.armed since arm\(\), and database "postgres" makes no calls$/;
my %harmful = (
    'SET UNLOGGED'                            => q{ALTER TABLE wee5_cron.armed SET UNLOGGED},
    'a rewrite with new values'               => q{ALTER TABLE wee5_cron.armed ALTER timeline TYPE bigint},
    'an UPDATE'                               => q{UPDATE wee5_cron.armed SET note = 'x'},
    'the rows written again'                  => "$keep; DELETE FROM wee5_cron.armed; INSERT INTO wee5_cron.armed SELECT * FROM kept; DROP TABLE kept",
    'a third row'                             => "INSERT INTO wee5_cron.armed SELECT * FROM wee5_cron.armed LIMIT 1",
    'one row less'                            => 'DELETE FROM wee5_cron.armed WHERE ctid = (SELECT min(ctid) FROM wee5_cron.armed)',
    'one row that names its own transaction'  => 'BEGIN; DELETE FROM wee5_cron.armed; INSERT INTO wee5_cron.armed (database, xid) SELECT oid, pg_current_xact_id()::xid FROM pg_database WHERE datname = current_database(); COMMIT',
    'two rows that name one transaction'      => 'BEGIN; DELETE FROM wee5_cron.armed; INSERT INTO wee5_cron.armed (database, xid) SELECT oid, pg_current_xact_id()::xid FROM pg_database, generate_series(1, 2) WHERE datname = current_database(); COMMIT',
);
for my $name (sort keys %harmful) {
    $node->safe_psql('postgres', 'SELECT wee5_cron.arm()');
    $node->safe_psql('postgres', $harmful{$name});
    disarmed_ok($node, 'postgres', "disarmed by $name", $rewritten);
    is($node->safe_psql('postgres', 'SELECT detail FROM wee5_cron.doctor_armed()'),
        'somebody has changed, copied or restored wee5_cron.armed since arm(), and the database makes no calls; queued calls: 1', '... and doctor() says why');
}
$node->safe_psql('postgres', 'ALTER TABLE wee5_cron.armed ALTER timeline TYPE int, SET LOGGED; SELECT wee5_cron.arm()');

# If a trigger discards their rows, arm() and disarm() raise an error.
$node->safe_psql('postgres', q{CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'});
for my $case ([ INSERT => 'SET client_min_messages = error; BEGIN; DELETE FROM wee5_cron.armed; SELECT wee5_cron.arm()', 'armed' ],
    [ UPDATE => 'SET client_min_messages = error; BEGIN; DELETE FROM wee5_cron.armed; SELECT wee5_cron.arm()', 'armed' ], [ 'INSERT OR DELETE' => 'SELECT wee5_cron.disarm()', 'disarmed' ]) {
    my ($event, $call, $what) = @$case;
    $node->safe_psql('postgres', "CREATE TRIGGER t BEFORE $event ON wee5_cron.armed FOR EACH ROW EXECUTE FUNCTION discard()");
    $node->raises('postgres', $call, '09000', "a trigger discards $event: it could not be $what", message => qr/"postgres" could not be $what: a trigger/, hint => qr/wee5_cron\.armed/);
    $node->safe_psql('postgres', 'DROP TRIGGER t ON wee5_cron.armed');
    armed_is($node, 'postgres', 't', '... and the database is as it was');
}

# Statements that commit one by one.
my $first = $node->safe_psql('postgres', 'SELECT txid_current()') + 2;
$node->safe_psql('postgres', 'DELETE FROM wee5_cron.armed');
my $insert = 'INSERT INTO wee5_cron.armed (database, xid) SELECT oid, \'%d\' FROM pg_database WHERE datname = current_database()';
$node->safe_psql('postgres', sprintf "$insert;\n$insert;\n", $first, $first + 1);
is($node->safe_psql('postgres', 'SELECT bool_and(xmin = xid) FROM wee5_cron.armed'), 't', 'two rows can have matching transaction ids by coincidence');
is($node->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 'f', '... and are no mark, since their ids are neighbours');
$node->safe_psql('postgres', 'SELECT wee5_cron.arm()');

# Restored: jobs and rows arrive whole, and the copy does not call. `psql` and `pg_restore` read what `pg_dump` wrote.
my $jobs   = q{SELECT string_agg(concat_ws(' ', jobid, jobname, schedule, command), E'\n' ORDER BY jobid) FROM cron.job};
my $before = $node->safe_psql('postgres', $jobs);
like($before, qr/users own.*poll-activities/s, 'the original has jobs of its own and of the user');
my $other = Wee5Cron::Node->start_new('other', conf => $conf);
$other->configure('postgres', api_url => 'http://localhost:1', secret => 'the secret');
sub empty_database {
    $other->safe_psql('template1', 'DROP DATABASE postgres WITH (FORCE)');
    $other->safe_psql('template1', 'CREATE DATABASE postgres TEMPLATE template0');
    $other->configure('postgres', api_url => 'http://localhost:1', secret => 'the secret');
    return;
}
my %dumps = (
    'plain'                         => ['-Fp'],
    'with row security'             => ['-Fp', '--enable-row-security'],
    'with row security, custom'     => ['-Fc', '--enable-row-security'],
    'custom'                        => ['-Fc'],
    'over what is there'            => ['-Fp', '--clean', '--if-exists', '--enable-row-security'],
    'rows as INSERT'                => ['-Fp', '--inserts', '--enable-row-security'],
    'tar'                           => ['-Ft'],
);
for my $name (sort keys %dumps) {
    my $file = "$tmp/" . $name =~ s/\W/_/gr;
    command_ok([ 'pg_dump', @{ $dumps{$name} }, '-f', $file, $node->connstr('postgres') ], "pg_dump $name succeeds");
    my $plain = grep { $_ eq '-Fp' } @{ $dumps{$name} };
    my @ways = $plain ? [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', $file ] : [ 'pg_restore', $file ];
    push @ways, [ 'psql', '-X', '-1', '-v', 'ON_ERROR_STOP=1', '-f', $file ] if $name eq 'with row security';
    push @ways, [ 'pg_restore', '--enable-row-security', '--single-transaction', $file ] if $name eq 'custom';
    for my $way (@ways) {
        my ($program, @arguments) = @$way;
        my $said = join ' ', $program, grep { !m{^$tmp} } @arguments;
        empty_database();
        command_checks_all([ $program, '-d', $other->connstr('postgres'), @arguments ], 0, [qr//], [qr/\A(?:psql:\S+ NOTICE:[^\n]*\n)*\z/], "$name: $said");
        is($other->safe_psql('postgres', $jobs), $before, '... and has the jobs of the dump, and no others');
        is($other->safe_psql('postgres', 'SELECT string_agg(endpoint_path, \',\') FROM wee5_cron.invocation'), '/queued', '... and its queue');
        disarmed_ok($other, 'postgres', '... and is disarmed');
    }
}

# Without rows, and only rows.
command_ok([ qw(pg_dump --schema-only --enable-row-security -f), "$tmp/schema", $node->connstr('postgres') ], 'pg_dump --schema-only succeeds');
empty_database();
command_ok([ qw(psql -X -v ON_ERROR_STOP=1 -f), "$tmp/schema", '-d', $other->connstr('postgres') ], '... and can be restored');
is($other->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, '... and the copy has no job');
disarmed_ok($other, 'postgres', '... and the copy is disarmed');
command_ok([ qw(pg_dump --data-only -f), "$tmp/data", $node->connstr('postgres') ], 'pg_dump --data-only succeeds');
command_ok([ qw(psql -X -v ON_ERROR_STOP=1 -f), "$tmp/data", '-d', $other->connstr('postgres') ], '... and can be restored into that copy');
is($other->safe_psql('postgres', $jobs), $before, '... and the copy has the jobs');
disarmed_ok($other, 'postgres', '... and the copy is still disarmed');

is($other->safe_psql('postgres', q{SELECT wee5_cron.arm(); SELECT wee5_cron.is_armed()}), "\nt", 'arm() arms the copy');

# Sessions that look like a restore, but are not.
for my $setting ('ALTER DATABASE postgres SET row_security = off', 'ALTER DATABASE postgres SET xmloption = document', 'ALTER ROLE ALL SET row_security = off') {
    $other->safe_psql('postgres', $setting);
}
{
    local $ENV{PGOPTIONS} = '-c row_security=off -c xmloption=content';
    $other->safe_psql('postgres', 'DROP EXTENSION wee5_cron CASCADE');
    $other->safe_psql('postgres', 'CREATE EXTENSION wee5_cron');
}
armed_is($other, 'postgres', 't', "a database is armed after CREATE EXTENSION, whatever a restore's settings are for the database, roles and connection");
is($other->safe_psql('postgres', 'SELECT count(*) FROM cron.job WHERE jobname = \'daily-analytics\''), 1, '... and its jobs are made');
$other->safe_psql('postgres', 'DROP EXTENSION wee5_cron; SET row_security = off; CREATE EXTENSION wee5_cron');
armed_is($other, 'postgres', 't', "... also with one of a restore's two settings in the session");
$other->safe_psql('postgres', 'DROP EXTENSION wee5_cron; SET row_security = on; SET xmloption = content; CREATE EXTENSION wee5_cron');
armed_is($other, 'postgres', 'f', '... but not with both');

# A template. (pg_cron's process is in the database postgres, so the test uses another.)
$node->install('app', api_url => 'http://localhost:1', secret => 'the secret');
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE app');
$node->configure('copied', api_url => 'http://localhost:1', secret => 'the secret');
disarmed_ok($node, 'copied', 'CREATE DATABASE ... TEMPLATE');
my $id = 'SELECT encode(id, \'hex\') FROM wee5_cron.arming';
$node->safe_psql('copied', 'SELECT wee5_cron.arm()');
armed_is($node, 'copied', 't', '... and the copy is armed after arm()');
isnt($node->safe_psql('copied', $id), $node->safe_psql('app', $id), '... with random bytes of its own');

# No role can read these bytes.
$node->safe_psql('postgres', q{CREATE ROLE operator LOGIN; SELECT wee5_cron.grant_to('operator', 'operate')});
$node->raises('postgres', $id, '42501', 'an operator may not read what keys are made from', role => 'operator');
$node->psql_as('operator', 'postgres', 'SELECT * FROM wee5_cron.armed; SELECT wee5_cron.disarm(); SELECT wee5_cron.arm()');
armed_is($node, 'postgres', 't', '... but may disarm and arm the database');

$_->log_is_sane($_->name . ': the log records no crash') for $node, $other;
done_testing();
