# The ledger keeps calls as long as the settings say, plus the newest run and the newest success of each job, and for a time
# those of each route called by hand. The worker prunes by itself, prune() at once.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Editions;
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Editions->start_node('main');
my $transport = $node->is_portable ? 'pg_net' : 'builtin';
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', 'CREATE ROLE operator LOGIN; CREATE ROLE reader LOGIN');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('operator', 'operate'), wee5_cron.grant_to('reader', 'read')");

# Rows of the past: [route, status, age, job], each with an attempt.
sub past {
    my ($path, $status, $age, $job) = @_;
    my $finished = $status =~ /^(?:queued|sending|retrying)$/ ? 'NULL' : "now() - interval '$age'";
    my $wait = $status eq 'retrying' ? "now() + interval '1 year'" : 'NULL';
    my $name = defined $job ? "'$job'" : 'NULL';
    return $node->safe_psql('postgres', <<"SQL");
WITH call AS (
  INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_at, finished_at, next_attempt_at, job_name)
  VALUES ('$path', '$transport', '$status', now() - interval '$age', $finished, $wait, $name) RETURNING id)
INSERT INTO wee5_cron.attempt (invocation_id, attempt) SELECT id, 1 FROM call RETURNING invocation_id
SQL
}

sub ids {
    my ($table) = @_;
    return $node->safe_psql('postgres', $table eq 'attempt'
        ? "SELECT string_agg(invocation_id::text, ',' ORDER BY invocation_id) FROM wee5_cron.attempt"
        : "SELECT string_agg(id::text, ',' ORDER BY id) FROM wee5_cron.invocation");
}

sub kept_are {
    my ($expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $list = join ',', sort { $a <=> $b } @$expected;
    return is(ids('invocation'), $list, $name) && is(ids('attempt'), $list, '... with their attempts, and no others');
}

# What prune() returns with these settings. On the portable edition, no setting of a session counts.
sub prune_with {
    my (%settings) = @_;
    if ($node->is_portable) {
        $node->set_database('postgres', $_, $settings{$_}) for keys %settings;
        my $pruned = $node->safe_psql('postgres', 'SELECT wee5_cron.prune()');
        $node->set_database('postgres', $_, undef) for keys %settings;
        return $pruned;
    }
    return $node->safe_psql('postgres', join '', (map { "SET wee5_cron.$_ = '$settings{$_}';" } keys %settings), 'SELECT wee5_cron.prune()');
}

# Nothing is pruned while the rows are created: the worker next looks in days, when the rows that it knew expire.
my @stay;
push @stay, past('/never-ends', 'retrying', '300 days');
past('/a', 'succeeded', '100 days');
past('/a', 'failed', '90 days');
past('/a', 'succeeded', '8 days');
push @stay, past('/a', 'failed', '8 days');
past('/a', 'failed', '31 days');
past('/a', $_, '31 days') for qw(skipped cancelled);
push @stay, past('/a', $_, '29 days') for qw(skipped cancelled);
push @stay, past('/a', 'succeeded', '6 days');
# Its last run failed long ago. A run with another query belongs to the same route.
past('/quiet?n=1', 'succeeded', '80 days');
push @stay, past('/quiet?n=2', 'succeeded', '70 days');
past('/quiet?n=3', 'failed', '60 days');
push @stay, past('/quiet?n=4', 'failed', '50 days');
push @stay, past('/never-worked', 'failed', '50 days');
# The rows of a job, even if its route is also called by hand.
past('/job', 'succeeded', '50 days', 'nightly');
push @stay, past('/job', 'succeeded', '40 days', 'nightly');
past('/job', 'succeeded', '30 days');
push @stay, past('/job', 'succeeded', '1 hour');

$node->raises('postgres', 'SELECT wee5_cron.prune()', '42501', 'a reader may not prune', role => 'reader');
is($node->psql_as('operator', 'postgres', 'SELECT wee5_cron.prune()'), 10, 'prune() returns how many calls it deleted');
kept_are(\@stay, 'prune() keeps young calls, unfinished calls, and the newest run and success of each route and job');
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 0, 'a second prune() deletes nothing');

# A row that is no longer the newest is deleted as soon as its time is over.
push @stay, past('/quiet', 'succeeded', '1 day');
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 2, 'after a newer success prune() deletes the calls that were the newest');
@stay = grep { $node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE id = $_") } @stay;
kept_are(\@stay, 'prune() keeps all other calls');

# If a user deletes the newest rows, or all of them, the newest of the rest, or the next ones, stay.
my @more = map { past('/deleted', 'succeeded', "$_ days") } 5, 4;
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 0, 'no call is old enough to be pruned');
$node->safe_psql('postgres', "DELETE FROM wee5_cron.invocation WHERE id = $more[1]; DELETE FROM wee5_cron.attempt WHERE invocation_id = $more[1]");
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET requested_at = now() - interval '40 days', finished_at = now() - interval '40 days' WHERE id = $more[0]");
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 0, 'when the newest calls were deleted by hand, the newest of the rest stay');
$node->safe_psql('postgres', "BEGIN; CREATE TABLE saved AS TABLE wee5_cron.invocation; CREATE TABLE saved_attempt AS TABLE wee5_cron.attempt; TRUNCATE wee5_cron.invocation, wee5_cron.attempt RESTART IDENTITY; COMMIT");
past('/deleted', $_->[0], "$_->[1] days") for [ 'succeeded', 40 ], [ 'failed', 39 ];
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 0, '... even when the sequence of ids restarts');
$node->safe_psql('postgres', <<'SQL');
TRUNCATE wee5_cron.invocation, wee5_cron.attempt;
INSERT INTO wee5_cron.invocation TABLE saved;
INSERT INTO wee5_cron.attempt SELECT * FROM saved_attempt WHERE invocation_id IN (SELECT id FROM saved);
SELECT setval('wee5_cron.invocation_id_seq', max(id)) FROM wee5_cron.invocation;
DROP TABLE saved, saved_attempt;
SQL
push @stay, $more[0];

# A call that ended after the walk had passed it.
my $late = past('/late', 'retrying', '50 days');
my $newer_but_older_success = past('/late', 'succeeded', '20 days');
$node->safe_psql('postgres', 'SELECT wee5_cron.prune()');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET status = 'failed', finished_at = now() - interval '40 days', next_attempt_at = NULL WHERE id = $late");
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 1, 'a call that ended late is pruned when its time is over');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE id = $newer_but_older_success"), 1, '... and the newest call of its route stays');

# Calls that are kept for ever.
my @old = map { past('/ever', 'succeeded', "$_ years") } reverse 1 .. 5;
is(prune_with(keep_succeeded => -1, keep_failed => -1), 0, '-1 keeps calls for ever');
is(prune_with(keep_succeeded => '800 d'), 3, $node->is_portable ? 'prune() uses its settings' : 'prune() uses the settings of the session');
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 2, '... and, by default, keeps the newest call of a route only ten times as long as a failed call');

# There may be endless routes with ids in them, so the newest row of each does not stay for ever. That of a job does, and a
# job has one, whatever routes it calls.
my $routes = 'SELECT count(*) FROM wee5_cron.newest_call';
my $known  = $node->safe_psql('postgres', $routes);
past("/users/$_/sync", 'succeeded', '301 days') for 1 .. 3;
past('/users/4/sync', 'succeeded', '350 days');
past('/users/4/sync', 'failed', '301 days');
my @young = (past('/users/5/sync', 'succeeded', '299 days'), past('/users/5/sync', 'failed', '298 days'));
# The success has expired, the run after it has not.
past('/users/6/sync', 'succeeded', '301 days');
push @young, past('/users/6/sync', 'failed', '298 days');
past("/users/$_/mail", 'succeeded', '400 days', 'mail') for 1 .. 3;
push @young, past('/users/4/mail', 'succeeded', '390 days', 'mail'), past('/users/5/mail', 'failed', '380 days', 'mail');
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 9, 'prune() deletes the newest calls of old routes, but not those of jobs');
is($node->safe_psql('postgres', "SELECT string_agg(id::text, ',' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/users/%'"),
    join(',', sort { $a <=> $b } @young), '... and keeps younger calls and one run and one success of the job');
is($node->safe_psql('postgres', $routes), $known + 3, '... and newest_call has no more rows than these need');
is($node->safe_psql('postgres', "$routes WHERE success_id IS NOT NULL AND NOT EXISTS (SELECT FROM wee5_cron.invocation WHERE id = success_id)"), 0, '... and names no call that was deleted');
prune_with(keep_failed => -1, keep_succeeded => '1 d');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE id IN (@{[ join ',', @young ]})"), scalar(@young), 'with keep_failed = -1 the newest call of each route is kept for ever');

# A session that holds a row does not delay the others.
@old = map { past('/held', 'succeeded', "$_ days") } reverse 11 .. 20;
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT id FROM wee5_cron.invocation WHERE id = $old[3] FOR UPDATE");
is($node->safe_psql('postgres', "SET lock_timeout = '5s'; SELECT wee5_cron.prune()"), 8, 'prune() passes over a row that another session has locked');
$holder->query_safe('COMMIT');
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 1, '... and deletes it once it is unlocked');

# By itself: when the worker starts, it finds the expired rows. Without a worker, harvest() looks when an hour has passed.
past('/by-itself', 'succeeded', "$_ days") for reverse 10 .. 19;
my $count = q{SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '%s'};

sub look_again {
    return $node->safe_psql('postgres', "UPDATE wee5_cron.background_task SET due_at = NULL WHERE name LIKE 'prune%'") if $node->is_portable;
    return $node->restart;
}
look_again();
ok($node->poll_query_until('postgres', sprintf("$count", '/by-itself') =~ s/count\(\*\)/count(*) = 1/r), 'the worker prunes after its start');

# The worker's next turn uses a changed setting.
past('/changed', 'succeeded', "$_ days") for reverse 1 .. 5;
$node->set_database('postgres', keep_succeeded => '60 h');
$node->finished('postgres', $node->call('postgres', '/turn'));
look_again() if $node->is_portable;
ok($node->poll_query_until('postgres', sprintf($count, '/changed') =~ s/count\(\*\)/count(*) = 2/r), 'the worker prunes by a shorter keep_succeeded');

# The timer is set for when the oldest row expires. All rows expire, one after the other, without any call.
unless ($node->is_portable) {
    $node->set_database('postgres', keep_succeeded => '1 min');
    my $seconds = 57;
    past('/timer', 'succeeded', "$_ seconds") for $seconds, $seconds - 1, $seconds - 2, 0;
    $node->finished('postgres', $node->call('postgres', '/turn'));
    ok($node->poll_query_until('postgres', sprintf($count, '/timer') =~ s/count\(\*\)/count(*) = 1/r), 'the worker wakes when the oldest row expires');
}

# A policy's own time to keep: the endpoint row of the whole path applies, else that of the path without the query.
$node->set_database('postgres', keep_succeeded => undef);
my $policy = sub { $node->safe_psql('postgres', 'INSERT INTO wee5_cron.endpoint (endpoint_path, keep_succeeded, keep_failed) VALUES ' . join ', ', @_) };
$policy->(q{('/brief', '0', '1 hour')}, q{('/brief?but=this', NULL, NULL)}, q{('/long', '90 days', NULL)});
past('/brief', 'succeeded', '61 seconds') for 1 .. 3;
past('/brief?n=1', 'failed', '61 minutes');
my @of_policy = (past('/brief', 'succeeded', '62 seconds', 'brief'), past('/brief', 'failed', '59 minutes'), past('/brief', 'succeeded', '50 seconds'));
past('/long', 'succeeded', '91 days');
past('/long', 'failed', '31 days');
push @of_policy, past('/brief?but=this', 'succeeded', '6 days'), past('/long', 'succeeded', '89 days'), past('/long', 'failed', '29 days');
my $with_policy = q{SELECT string_agg(id::text, ',' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path ~ '^/(brief|long)'};
# The worker may have deleted some already.
my $expired = $node->safe_psql('postgres', 'SELECT wee5_cron.prune()');
ok($node->is_portable ? $expired == 6 : $expired <= 6, 'a policy decides how long the calls of its path are kept, even in the youngest part of the ledger') or diag($expired);
is($node->safe_psql('postgres', $with_policy), join(',', @of_policy), '... but at least a minute, and the newest run and success of the path and of the job stay');
$node->as_superuser('postgres', <<'SQL');
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE wee5_cron.endpoint SET keep_succeeded = '-1 day', keep_failed = '200 years' WHERE endpoint_path = '/brief';
COMMIT;
SQL
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune()'), 0, 'a policy out of bounds is ignored when calls are pruned');
is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.doctor_policies()"), 'warning', '... and doctor() reports it');
$node->safe_psql('postgres', "DELETE FROM wee5_cron.endpoint WHERE true; DELETE FROM wee5_cron.invocation WHERE endpoint_path ~ '^/(brief|long)'");

# The worker deletes calls with a short time to keep early, while younger and older ones stay, even if they end late.
my ($older, $younger) = (past('/older', 'succeeded', '6 days'), undef);
past('/brief', 'succeeded', "$_ seconds") for reverse 120 .. 140;
my $ends_late = past('/brief', 'retrying', '3 minutes');
$younger = past('/younger', 'succeeded', '1 second');
$policy->(q{('/brief', '0', '0')});
ok($node->poll_query_until('postgres', sprintf($count, '/brief') =~ s/count\(\*\)/count(*) = 2/r), 'the worker prunes by a new policy');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET status = 'failed', finished_at = now() - interval '2 minutes', next_attempt_at = NULL WHERE id = $ends_late");
past('/brief', 'succeeded', "$_ seconds") for 58, 57;
$node->finished('postgres', $node->call('postgres', '/turn'));
look_again() if $node->is_portable;
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = '/brief' AND id <> $ends_late"), '... and deletes later calls when their time is over, and also the one that was the newest');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE id IN ($older, $younger)"), 2, '... and keeps the calls of other paths');
$node->safe_psql('postgres', 'DELETE FROM wee5_cron.endpoint WHERE true');

# Many rows.
$node->finished('postgres', $node->call('postgres', '/turn'));
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_at, finished_at)
SELECT '/many/' || n % 7, 'builtin', 'succeeded', now() - interval '10 days', now() - interval '10 days' FROM generate_series(1, 20000) n;
INSERT INTO wee5_cron.attempt (invocation_id, attempt) SELECT id, 1 FROM wee5_cron.invocation WHERE endpoint_path LIKE '/many/%';
SQL
look_again();
ok($node->poll_query_until('postgres', "SELECT count(*) = 7 FROM wee5_cron.invocation WHERE endpoint_path LIKE '/many/%'"), 'many rows are pruned page by page');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.attempt a WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = a.invocation_id)'), 0, '... with their attempts');

# A user who deletes calls leaves their attempts and more behind; the next prune(), or the worker's next walk, removes them.
my $leftovers = <<'SQL';
SELECT (SELECT count(*) FROM wee5_cron.attempt a WHERE NOT EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.id = a.invocation_id)),
       (SELECT count(*) FROM wee5_cron.cancellation), (SELECT count(*) FROM wee5_cron.cron_caller), (SELECT count(*) FROM wee5_cron.pg_net_request),
       (SELECT string_agg(name, ',' ORDER BY name) FROM wee5_cron.trouble)
SQL
my $leave = sub {
    $node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, requested_at, finished_at)
SELECT '/left/' || n, 'builtin', 'succeeded', now() - interval '2 hours', now() - interval '2 hours' FROM generate_series(1, 6000) n;
INSERT INTO wee5_cron.attempt (invocation_id, attempt) SELECT id, a FROM wee5_cron.invocation, generate_series(1, 2) a WHERE endpoint_path LIKE '/left/%';
INSERT INTO wee5_cron.cron_caller SELECT id, 1 FROM wee5_cron.invocation WHERE endpoint_path LIKE '/left/%';
INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id) SELECT id, id FROM wee5_cron.invocation WHERE endpoint_path LIKE '/left/%';
INSERT INTO wee5_cron.trouble (kind, name, failures, since) VALUES ('failing', '/gone', 1, now() - interval '40 days'), ('failing', '/gone?a=1', 9, now() - interval '40 days'),
  ('failing', '/fresh', 1, now()), ('failing', '/many/1', 1, now() - interval '40 days'), ('failing', '/calls', 1, now() - interval '40 days'),
  ('failing', '/begun', 1, now() - interval '40 days') ON CONFLICT DO NOTHING;
BEGIN;
INSERT INTO wee5_cron.cancellation (invocation_id) SELECT id FROM wee5_cron.invocation WHERE endpoint_path LIKE '/left/%';
DELETE FROM wee5_cron.invocation WHERE endpoint_path LIKE '/left/%';
COMMIT;
SQL
};
past('/begun', 'retrying', '1 hour');
$node->safe_psql('postgres', q{SELECT cron.schedule('calls', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/calls?x=1')$$)});
my $trouble_left = '/begun,/calls,/fresh,/many/1';
$leave->();
isnt($node->safe_psql('postgres', $leftovers), "0|0|0|0|$trouble_left", 'rows deleted by hand leave other rows behind');
$node->safe_psql('postgres', 'SELECT wee5_cron.prune()');
is($node->safe_psql('postgres', $leftovers), "0|0|0|0|$trouble_left", 'prune() removes rows that belong to deleted calls, even young ones');
past('/last', 'succeeded', '1 hour');
$leave->();
past('/after', 'succeeded', '10 days') for 1 .. 2;
look_again();
ok($node->poll_query_until('postgres', "SELECT ROW(q.*) = ROW(0::bigint, 0::bigint, 0::bigint, 0::bigint, '$trouble_left'::text) FROM (" . ($leftovers =~ s/;?\s*\z//r) . ') q'), 'the worker removes such rows in parts');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt a JOIN wee5_cron.invocation i ON i.id = a.invocation_id WHERE i.endpoint_path IN ('/last', '/after', '/begun')"), 3, '... and keeps the attempts of other calls');

$node->safe_psql('postgres', q{SELECT cron.unschedule('calls')});

# pg_cron's own history. Its jobs may run meanwhile, and their runs have low numbers.
$node->safe_psql('postgres', q{SELECT cron.schedule('one', '0 0 1 1 *', 'SELECT 1'), cron.schedule('two', '0 0 1 1 *', 'SELECT 2')});
$node->as_superuser('postgres', <<'SQL');
INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time)
SELECT j.jobid, 1000000 + r.n * 10 + j.jobid, 1, 'postgres', 'postgres', '', r.status, '', r.at, r.at
FROM cron.job j CROSS JOIN (VALUES (1, 'succeeded', now() - interval '40 days'), (2, 'failed', NULL), (3, 'failed', now() - interval '35 days'),
  (4, 'running', now() - interval '34 days'), (5, 'succeeded', now() - interval '20 days')) AS r (n, status, at)
WHERE j.jobname = 'one' OR r.n <= 3;
INSERT INTO cron.job_run_details (jobid, runid, database, status, start_time, end_time) VALUES (4711, 1000000, 'gone', 'succeeded', now() - interval '50 days', now() - interval '50 days');
SQL
$node->raises('postgres', 'SELECT wee5_cron.prune_cron_history(NULL)', '22004', 'prune_cron_history(NULL) is an error');
$node->raises('postgres', "SELECT wee5_cron.prune_cron_history('-1 day')", '22023', 'prune_cron_history() refuses a negative interval');
$node->raises('postgres', "SELECT wee5_cron.prune_cron_history('1 day')", '42501', "a reader may not prune pg_cron's history", role => 'reader');
is($node->psql_as('operator', 'postgres', "SELECT wee5_cron.prune_cron_history('30 days')"), 6, 'prune_cron_history() returns how many runs it deleted');
is($node->safe_psql('postgres', "SELECT string_agg(d.status || (now() - coalesce(d.end_time, '-infinity') > '30 days')::text, ' ' ORDER BY j.jobname, d.runid) FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname IN ('one', 'two')"),
    'runningtrue succeededfalse failedtrue', 'prune_cron_history() keeps young and running runs, and the newest run of each job');
is($node->safe_psql('postgres', "SELECT wee5_cron.prune_cron_history('170000000 years')"), 0, 'prune_cron_history() accepts an interval that begins before the calendar');
Wee5Cron::Editions->needs_the_worker($node);
$node->safe_psql('postgres', 'CREATE DATABASE without');
$node->install('without');
$node->raises('without', "SELECT wee5_cron.prune_cron_history('30 days')", '55000', 'prune_cron_history() without pg_cron is an error', hint => qr/cron\.database_name/);

# In a long ledger, each row of newest_call is written a few times, not once for each page. A crash forgets none.
my @pruned = split /\n/, $node->safe_psql('without', <<'SQL');
BEGIN;
SET LOCAL wee5_cron.keep_succeeded = '1d';
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_at, finished_at)
SELECT 'long', '/long', 'builtin', 'succeeded', now() - interval '9 days', now() - interval '9 days' FROM generate_series(1, 20000);
SELECT wee5_cron.prune();
SELECT n_tup_ins + n_tup_upd <= 2 FROM pg_stat_xact_user_tables WHERE relid = 'wee5_cron.newest_call'::regclass;
COMMIT;
SQL
is_deeply(\@pruned, [ 19999, 't' ], 'prune() works in long pages');
$node->restart_immediately;
is($node->safe_psql('without', "SELECT count(*) FROM wee5_cron.newest_call WHERE job_name = 'long'"), 1, 'a crash loses no row of newest_call');

$node->log_is_sane;
done_testing();
