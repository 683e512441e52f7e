# ALTER EXTENSION wee5_cron UPDATE from 0.1.0: afterwards the catalogue is that of a fresh installation, and the ledger,
# jobs, policies and grants are as before. Calls made before it are sent after it, without a restart.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $tmp      = PostgreSQL::Test::Utils::tempdir();
my $node     = Wee5Cron::Node->start_new('main');
$node->safe_psql('postgres', <<"SQL");
CREATE ROLE caller LOGIN;
CREATE ROLE reader LOGIN;
CREATE ROLE operator LOGIN;
CREATE ROLE nobody LOGIN;
CREATE EXTENSION pg_cron;
CREATE EXTENSION wee5_cron VERSION '0.1.0';
CREATE DATABASE fresh;
SQL
$node->configure('postgres', api_url => $receiver->url, secret => 'the secret');

# A ledger with calls in every state, and everything that belongs to them.
$node->safe_psql('postgres', <<'SQL');
SELECT wee5_cron.grant_to('caller', 'call'), wee5_cron.grant_to('reader', 'read'), wee5_cron.grant_to('operator', 'operate');
GRANT SELECT ON wee5_cron.invocation TO nobody;
GRANT EXECUTE ON FUNCTION wee5_cron.doctor() TO nobody;
REVOKE EXECUTE ON FUNCTION wee5_cron.prune() FROM operator;
SELECT wee5_cron.schedule('nightly', '0 0 1 1 *', '/nightly'), wee5_cron.pause('nightly', 'for a while');
INSERT INTO wee5_cron.endpoint (endpoint_path, method, max_attempts, note) VALUES ('/policy', 'POST', 2, 'kept');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, reason, error, http_status, attempts, finished_at)
VALUES ('/old', 'builtin', 'succeeded', NULL, NULL, 200, 1, now()), ('/old', 'builtin', 'failed', 'http', 'HTTP 500', 500, 1, now()),
       ('/old', 'builtin', 'skipped', 'overlap', 'x', NULL, 0, now()), ('/old', 'builtin', 'cancelled', 'cancelled', 'x', NULL, 0, now());
INSERT INTO wee5_cron.attempt (invocation_id, attempt, finished_at, http_status)
SELECT id, 1, now(), http_status FROM wee5_cron.invocation WHERE attempts = 1;
INSERT INTO wee5_cron.trouble (kind, name, failures, since) VALUES ('failing', '/old', 1, now());
INSERT INTO wee5_cron.newest_call VALUES ('/old', '', 1, 1);
SQL
# A call that has not ended: it waits for its retry.
my $queued = $node->call('postgres', '/statuses/503,200');
$node->invocation_when('postgres', $queued, "status = 'retrying'");

# A copy that was not armed, and a dump.
$node->safe_psql('postgres', 'CREATE DATABASE original');
$node->safe_psql('original', "CREATE EXTENSION wee5_cron VERSION '0.1.0'; INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, finished_at) VALUES ('/dumped', 'builtin', 'succeeded', now())");
command_ok([ qw(pg_dump -Fc -f), "$tmp/dump", $node->connstr('original') ], 'pg_dump of 0.1.0 succeeds');
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE original');

my $before_update = $node->safe_psql('postgres', 'SELECT now()');
my $rows = qq{SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM (
    SELECT ROW(i.id, i.endpoint_path, i.status, i.reason, i.error, i.http_status, i.attempts, i.idempotency_key)::text FROM wee5_cron.invocation i WHERE endpoint_path = '/old'
    UNION ALL SELECT a::text FROM wee5_cron.attempt a WHERE finished_at <= '$before_update' UNION ALL SELECT ROW(e.endpoint_path, e.method, e.max_attempts, e.note)::text FROM wee5_cron.endpoint e
    UNION ALL SELECT ROW(j.job_name, j.jobid, j.endpoint_path, j.catch_up, j.registered, j.paused_at, j.pause_note)::text FROM wee5_cron.job j UNION ALL SELECT c::text FROM cron.job c
    UNION ALL SELECT ROW(kind, name, failures, since, told)::text FROM wee5_cron.trouble) AS x (t)};
my $before = $node->safe_psql('postgres', $rows);
is($node->error_of('postgres', 'ALTER EXTENSION wee5_cron UPDATE'), undef, 'ALTER EXTENSION wee5_cron UPDATE succeeds');
is($node->safe_psql('postgres', $rows), $before, 'after the update all rows are as they were');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $queued; SELECT wee5_cron.wake_worker()");
fields_are($node->finished('postgres', $queued), { status => 'succeeded', attempts => 2 }, 'after the update the worker makes the retry that waited, without a restart');
is($node->finished('postgres', $node->call('postgres', '/after'))->{status}, 'succeeded', '... and new calls succeed');
is($node->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 't', '... and the database is armed');

# The same objects, with the same grants.
my $catalogue = slurp_file("$FindBin::RealBin/../support/catalogue.sql");
$node->safe_psql('fresh', <<'SQL');
CREATE EXTENSION wee5_cron;
SELECT wee5_cron.grant_to('caller', 'call'), wee5_cron.grant_to('reader', 'read'), wee5_cron.grant_to('operator', 'operate');
GRANT SELECT ON wee5_cron.invocation TO nobody;
GRANT EXECUTE ON FUNCTION wee5_cron.doctor() TO nobody;
REVOKE EXECUTE ON FUNCTION wee5_cron.prune() FROM operator;
SQL
my @objects = map { [ split /\n/, $node->safe_psql($_, $catalogue) ] } qw(fresh postgres);
cmp_ok(scalar @{ $objects[0] }, '>', 4000, 'the catalogue has more than 4000 lines to compare');
my @different = grep { ($objects[0][$_] // '') ne ($objects[1][$_] // '') } 0 .. ($#{ $objects[0] } > $#{ $objects[1] } ? $#{ $objects[0] } : $#{ $objects[1] });
is(scalar @different, 0, 'after the update the catalogue is that of a fresh installation')
  or diag(map { "fresh: " . ($objects[0][$_] // 'nothing') . "\nupdated: " . ($objects[1][$_] // 'nothing') . "\n" } @different[0 .. ($#different < 5 ? $#different : 5)]);
is($node->safe_psql('postgres', q{SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p WHERE p.pronamespace = 'wee5_cron'::regnamespace AND has_function_privilege('nobody', p.oid, 'EXECUTE')}), 'wee5_cron.doctor()', 'a role without a grant may execute no new function');
is($node->error_of('postgres', "SELECT wee5_cron.disarm('by the operator'), wee5_cron.arm()", role => 'operator'), undef, 'a role that had the profile operate may use the new functions');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_init_privs i JOIN pg_proc p ON i.classoid = 'pg_proc'::regclass AND p.oid = i.objoid WHERE p.pronamespace = 'wee5_cron'::regnamespace AND i.initprivs::text ~ 'operator'}), 0, 'no privilege of a role counts as an initial one, so that a dump includes them all');

# An update does not arm a database that was not armed.
is($node->error_of('copied', 'ALTER EXTENSION wee5_cron UPDATE'), undef, 'a disarmed copy can be updated');
is($node->safe_psql('copied', 'SELECT wee5_cron.is_armed()'), 'f', '... and stays disarmed');

# A dump of 0.1.0 creates the present version of the extension.
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ qw(pg_restore --exit-on-error -d), $node->connstr('restored'), "$tmp/dump" ], 'pg_restore of a dump of 0.1.0 succeeds');
fields_are($node->one_row('restored', "SELECT e.extversion, i.endpoint_path, wee5_cron.is_armed()::text AS armed FROM pg_extension e, wee5_cron.invocation i WHERE e.extname = 'wee5_cron'"),
    { extversion => '0.2.0', endpoint_path => '/dumped', armed => 'false' }, '... and the database has its rows and is disarmed');
$node->log_is_sane;
done_testing();
