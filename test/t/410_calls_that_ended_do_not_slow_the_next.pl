# While a session holds an old snapshot, ended calls stay in the index of open ones. The overlap check neither visits all of
# them each time, nor misses a call that is committed late.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use JSON::PP;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'autovacuum = off');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->policy('postgres', $_, overlap => 'skip') for '/much', '/late', '/statuses/200';

my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM wee5_cron.invocation');
$node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, attempts, reason, next_attempt_at) SELECT '/much', 'builtin', 'retrying', 1, 'connect', now() + interval '1 year' FROM generate_series(1, 40000)");
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET status = 'succeeded', reason = NULL, finished_at = now(), next_attempt_at = NULL WHERE endpoint_path = '/much'");

# A session calls the path repeatedly. Returns the pages that each call visits, except for the first ones.
my $session = $node->background_psql('postgres');
my @pages;
for (1 .. 8) {
    my $plan = decode_json($session->query_safe("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT invoke_cron_endpoint('/much')"));
    push @pages, $plan->[0]{Plan}{'Shared Hit Blocks'} + $plan->[0]{Plan}{'Shared Read Blocks'};
    $node->wait_until_all_finished('postgres');
}
note "pages: @pages";
cmp_ok((sort { $a <=> $b } @pages[ 3 .. 7 ])[2], '<', 300, 'a call does not visit the entries of calls that ended long ago');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/much' AND http_status = 200"), 8, '... and each call is made');

# An open call is found first.
my $hang = $node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, attempts, reason, next_attempt_at) VALUES ('/much', 'builtin', 'retrying', 1, 'connect', now() + interval '1 year') RETURNING id");
my $fresh = $node->background_psql('postgres');
$fresh->query_safe("SET client_min_messages = error; SELECT invoke_cron_endpoint('/elsewhere')");
my $plan = decode_json($fresh->query_safe("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT invoke_cron_endpoint('/much')"));
cmp_ok($plan->[0]{Plan}{'Shared Hit Blocks'} + $plan->[0]{Plan}{'Shared Read Blocks'}, '<', 300, 'a call finds the open one at once, even in a new session');
is($node->safe_psql('postgres', "SELECT concat_ws('/', status, reason) FROM wee5_cron.invocation ORDER BY id DESC LIMIT 1"), 'skipped/overlap', '... and is skipped');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET status = 'failed', finished_at = now(), next_attempt_at = NULL WHERE id = $hang");
$fresh->quit;

# A call with a lower id than those that have ended meanwhile, which is committed after them.
my $late = $node->background_psql('postgres');
my $late_id = $late->query_safe("BEGIN; SELECT invoke_cron_endpoint('/late')");
$late->query_safe("UPDATE wee5_cron.invocation SET status = 'retrying', attempts = 1, reason = 'connect', next_attempt_at = now() + interval '1 year' WHERE id = $late_id");
for (1 .. 4) {
    my $id = $session->query_safe("SELECT invoke_cron_endpoint('/late')");
    is($node->finished('postgres', $id)->{status}, 'succeeded', "a call is made while another one is not committed ($_)");
}
$late->query_safe('COMMIT');
$session->query_safe('SET client_min_messages = error');
my $next = $session->query_safe("SELECT invoke_cron_endpoint('/late')");
fields_are($node->invocation('postgres', $next), { status => 'skipped', reason => 'overlap', error => "Call $late_id of /late has not ended yet." }, 'a call is skipped once the late one is committed');
# The worker, which has sent the others, knows of it too: a call that could not be seen before is skipped when it is sent.
my $unseen = $session->query_safe("INSERT INTO wee5_cron.invocation (endpoint_path, transport, exclusive) VALUES ('/late', 'builtin', 'path') RETURNING id");
$session->query_safe('SELECT wee5_cron.wake_worker()');
fields_are($node->finished('postgres', $unseen), { status => 'skipped', reason => 'overlap' }, '... and the worker skips a call for it, too');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $late_id; SELECT wee5_cron.wake_worker()");
is($node->finished('postgres', $late_id)->{status}, 'succeeded', '... and the late call succeeds');
is($node->finished('postgres', $session->query_safe("SELECT invoke_cron_endpoint('/late')"))->{status}, 'succeeded', '... and after it the next call succeeds');

# The sequence of ids starts again.
$holder->quit;
$node->wait_until_all_finished('postgres');
$node->safe_psql('postgres', 'TRUNCATE wee5_cron.invocation, wee5_cron.attempt RESTART IDENTITY');
$receiver->hold;
$node->block_the_wire('postgres', $receiver);
my @again = map { $session->query_safe("SELECT invoke_cron_endpoint('/late')") } 1, 2;
is(join(' ', map { $node->invocation('postgres', $_)->{status} } @again), 'queued skipped', 'after a TRUNCATE a call with a low id makes others skip');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');

# Whether the jobs of a database without pg_cron are silent is found without reading their history.
$node->install('elsewhere', api_url => $receiver->url, secret => 'the secret', pg_cron => 0);
$node->safe_psql('elsewhere', <<'SQL');
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_at, finished_at)
SELECT c.name, '/' || c.name, 'builtin', 'succeeded', c.at, now()
FROM (SELECT j.name, date_trunc('hour', now()) - n * interval '1 minute'
      FROM (VALUES ('rests'), ('stopped')) AS j (name), generate_series(181, 20160) n
      WHERE j.name = 'stopped' OR n % 1440 BETWEEN 181 AND 1380) AS c (name, at)
ORDER BY c.at;
ANALYZE wee5_cron.invocation;
SQL
my ($silent, $read) = split /\n/, $node->safe_psql('elsewhere', <<'SQL');
BEGIN;
SELECT string_agg(job_name, ' ') FROM wee5_cron.silent_jobs();
SELECT sum(idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname = 'invocation';
COMMIT;
SQL
is($silent, 'stopped', 'a job that calls each minute is silent at an hour at which it calls');
note "rows: $read";
cmp_ok($read, '<', 15_000, '... and few of its calls are read for that');

$_->quit for $session, $late;
$node->log_is_sane;
done_testing();
