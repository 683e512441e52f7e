# Runs that pg_cron missed: ticks while the server was down, and ticks that pg_cron skipped. On a clock that the test moves,
# so that hours pass at once.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::StillClock;

my $receiver = Wee5Cron::Receiver->start(secret => 'secret of the clock tower');
my $owners   = Wee5Cron::Receiver->start(secret => 'secret of the owner');
my $node     = Wee5Cron::Node->new_configured('main', conf => "cron.timezone = 'GMT'\nmax_prepared_transactions = 1");
my $clock    = Wee5Cron::StillClock->new('2026-06-01 10:05:00');
$clock->start($node);

# A job is created while there is no worker yet, and committed after the worker has looked. Another one is prepared.
$node->safe_psql('postgres', q{CREATE EXTENSION pg_cron; SELECT cron.schedule('first', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$)});
my $early = $node->background_psql('postgres');
$early->query_safe(q{BEGIN; SELECT cron.schedule('early', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$)});
$node->install('postgres', api_url => $receiver->url, secret => 'secret of the clock tower');
my $watched = q{SELECT string_agg(jobname, ',' ORDER BY jobname) FROM wee5_cron.job_watch JOIN cron.job USING (jobid)};
# On a clock that stands still, the launcher would wait forever before it restarts a worker that has just found no extension.
for (1 .. 300) {
    last if $node->safe_psql('postgres', $watched) eq 'first';
    $clock->set($clock->now + 1);
}
is($node->safe_psql('postgres', $watched), 'first', 'the worker looks at the jobs when it starts');
$early->query_safe('COMMIT');
ok($node->poll_query_until('postgres', $watched, 'early,first'), '... and finds a job that was created before and committed afterwards');
$early->query_safe(q{BEGIN; SELECT cron.schedule('prepared', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'});
ok($node->poll_query_until('postgres', $watched, 'early,first,prepared'), '... and one whose transaction was prepared');
$early->query_safe(q{SELECT cron.schedule('alone', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$)});
ok($node->poll_query_until('postgres', $watched, 'alone,early,first,prepared'), '... and one whose transaction did nothing else');
$early->quit;
$node->safe_psql('postgres', 'SELECT cron.unschedule(jobid) FROM cron.job');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.job_watch'), '... and it drops jobs that were removed');

$node->safe_psql('postgres', <<"SQL");
CREATE ROLE owner LOGIN;
CREATE ROLE mallory LOGIN;
SELECT wee5_cron.grant_to('owner', 'call');
ALTER ROLE owner SET app.settings.api_url = '@{[ $owners->url ]}';
ALTER ROLE owner SET app.settings.cron_secret = 'secret of the owner';
SELECT wee5_cron.schedule('half', '*/30 * * * *', '/half'), wee5_cron.schedule('not again', '*/30 * * * *', '/not-again'),
       wee5_cron.schedule('paused', '*/30 * * * *', '/paused'), wee5_cron.schedule('at one', '0 13 * * *', '/at-one'),
       wee5_cron.schedule('at two', '0 14 * * *', '/at-two'), wee5_cron.schedule('at five', '0 17 * * *', '/at-five'),
       wee5_cron.schedule('with choices', '*/30 * * * *', '/replaced'),
       cron.schedule_in_database('owned', '*/30 * * * *', \$\$SELECT invoke_cron_endpoint('/owned')\$\$, 'postgres', 'owner'),
       cron.schedule_in_database('forbidden', '*/30 * * * *', \$\$SELECT invoke_cron_endpoint('/forbidden')\$\$, 'postgres', 'mallory'),
       wee5_cron.schedule('if', '*/30 * * * *', '/if');
UPDATE cron.job SET command = command || ' WHERE now() < ''2026-06-01 11:00+00''' WHERE jobname = 'if';
UPDATE cron.job SET command = \$\$SELECT wee5_cron.invoke('/with-choices', 'POST')\$\$ WHERE jobname = 'with choices';
UPDATE wee5_cron.job SET catch_up = 'none' WHERE job_name = 'not again';
SELECT wee5_cron.pause('paused');
SQL

sub job {
    my ($name) = @_;
    return $node->one_row('postgres', "SELECT * FROM wee5_cron.job_status WHERE job_name = '$name'");
}

# Waits until every job's ticks up to that time are judged. A call wakes the worker, which would otherwise sleep for hours.
sub judged_until {
    my ($time) = @_;
    $node->call('postgres', '/wake');
    return $node->poll_query_until('postgres',
        "SELECT min(judged_until) >= '$time+00' FROM wee5_cron.job_watch WHERE active AND schedule LIKE '*/30%'");
}

ok($node->poll_query_until('postgres', 'SELECT count(*) = 10 FROM wee5_cron.job_watch'), 'the worker finds new jobs when they are committed');
$node->safe_psql('postgres', "SELECT cron.schedule('plain', '0 0 1 1 *', 'SELECT invoke_cron_endpoint(''/plain'')')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 11 FROM wee5_cron.job_watch'), '... and one whose transaction did nothing else');
$node->safe_psql('postgres', "SELECT cron.unschedule('plain')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 10 FROM wee5_cron.job_watch'), '... and it drops a job that was removed');

$clock->set('2026-06-01 10:30:05');
$receiver->wait_for_requests($_) for qw(/half /not-again /with-choices /if);
$owners->wait_for_requests('/owned');
$node->wait_until_all_finished('postgres');
$clock->set('2026-06-01 10:34:00');
judged_until('2026-06-01 10:30:00');
fields_are(job($_), { missed_runs => 0, state => 'ok' }, "a tick that pg_cron ran is not missed: $_") for ('half', 'not again', 'owned');

# The server is down for two ticks.
$node->stop;
$clock->set('2026-06-01 11:40:00');
$clock->start($node);
$receiver->wait_for_requests('/half', 2);
$owners->wait_for_requests('/owned', 2);
judged_until('2026-06-01 11:30:00');
$node->wait_until_all_finished('postgres');
fields_are(job('half'), { missed_runs => 2, state => 'ok' }, 'ticks while the server was down are counted, and the newest one is made up for');
my ($made_up) = ($receiver->requests('/half'))[-1];
fields_are($made_up->{headers}, { 'x-wee5-cron-job' => 'half', 'x-wee5-cron-scheduled-at' => '2026-06-01T11:30:00Z' }, '... with the scheduled_at of that tick');
is(scalar(my @half = $receiver->requests('/half')), 2, '... once');
fields_are(
    $node->one_row('postgres', q{SELECT requested_by, bearer, scheduled_at AT TIME ZONE 'UTC' AS tick FROM wee5_cron.invocation, (VALUES (1)) v (bearer) WHERE job_name = 'owned' ORDER BY id DESC LIMIT 1}),
    { requested_by => 'owner', tick => '2026-06-01T11:30:00' },
    "the make-up call belongs to the job's owner");
is(($owners->requests('/owned'))[-1]{bearer}, 'match', '... with the owner\'s address and secret');
fields_are(job('not again'), { missed_runs => 2, state => 'late' }, 'with catch_up = none missed runs are counted, and the job is late');
is(scalar(my @not = $receiver->requests('/not-again')), 1, '... and none is made up for');
fields_are(job('with choices'), { missed_runs => 2, state => 'late' }, 'a job that does more than a plain call is late and not made up for');
fields_are(job('paused'), { missed_runs => 0, state => 'paused' }, 'a paused job misses no run');
fields_are(job('if'), { missed_runs => 2, state => 'late' }, 'a job that calls on a condition is late');
is(scalar(my @if = $receiver->requests('/if')), 1, '... and not made up for, since the condition may no longer hold');
fields_are(job('forbidden'), { missed_runs => 2, state => 'late' }, 'missed runs of a job whose user may not call are counted');
is(scalar(my @forbidden = $receiver->requests('/forbidden')), 0, '... and no call is made for them under any role');
like(slurp_file($node->logfile), qr/cannot catch up on the missed run of job "forbidden": role "mallory" may not/, '... and the log says why');
is($node->safe_psql('postgres', "SELECT string_agg(name, ',' ORDER BY name) FROM wee5_cron.trouble WHERE kind = 'late'"),
    'forbidden,half,if,not again,owned,with choices', 'each job that is late has its trouble recorded');
$node->safe_psql('postgres', "SELECT wee5_cron.pause('if'), wee5_cron.unschedule('forbidden')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM wee5_cron.trouble WHERE name IN ('forbidden', 'if')"),
    '... and no longer once it was paused or removed, so that the next one is reported again');

$clock->set('2026-06-01 12:00:05');
$receiver->wait_for_requests('/not-again', 2);
$receiver->wait_for_requests('/half', 3);
$node->wait_until_all_finished('postgres');
fields_are(job('not again'), { missed_runs => 2, state => 'ok' }, 'after the next run the job is no longer late');

# Down again, over the job that runs at one o'clock, for too long to make up for its run.
$node->stop;
$clock->set('2026-06-01 14:20:00');
$clock->start($node);
judged_until('2026-06-01 14:00:00');
fields_are(job('half'), { missed_runs => 6 }, 'the four ticks 12:30, 13:00, 13:30 and 14:00 are missed');
fields_are(job('at one'), { missed_runs => 1 }, 'a tick while the server was down is found at its start, however long the period');
fields_are(($receiver->wait_for_requests('/at-two'))[0]{headers}, { 'x-wee5-cron-scheduled-at' => '2026-06-01T14:00:00Z' }, '... and made up for within an hour');
$receiver->wait_for_requests('/half', 4);
$node->wait_until_all_finished('postgres');

# pg_cron itself skips the time in between when the clock jumps ahead by more than three hours. The worker's timer is set
# for the next tick plus a grace of two seconds.
$clock->set('2026-06-01 14:30:05');
$receiver->wait_for_requests('/half', 5);
$node->wait_until_all_finished('postgres');
$clock->set('2026-06-01 14:32:58');
$node->call('postgres', '/wake');
$receiver->wait_for_requests('/wake', 4);
$clock->set('2026-06-01 18:05:00');
ok( $node->poll_query_until('postgres', "SELECT missed_runs = 13 FROM wee5_cron.job_status WHERE job_name = 'half'"),
    "the worker's own timer finds ticks that pg_cron skipped, without any call");
$receiver->wait_for_requests('/half', 6);
is(($receiver->requests('/half'))[-1]{headers}{'x-wee5-cron-scheduled-at'}, '2026-06-01T18:00:00Z', '... and the newest one is made up for once');
fields_are(job('at five'), { missed_runs => 0 }, 'while pg_cron runs, a daily job has a tenth of its period before a run counts as missed');
is(scalar(my @one = $receiver->requests('/at-one')), 0, 'a run missed by more than an hour is not made up for');

# A new schedule restarts the watch, and so does resuming the job.
$node->safe_psql('postgres', "SELECT wee5_cron.resume('paused'), cron.alter_job(jobid, schedule => '*/10 * * * *') FROM cron.job WHERE jobname = 'half'");
ok( $node->poll_query_until('postgres', "SELECT bool_and(w.active AND judged_until >= '2026-06-01 18:05:00+00') FROM wee5_cron.job_watch w JOIN cron.job j USING (jobid) WHERE jobname IN ('paused', 'half')"),
    'a job that was changed or resumed is watched from that time on');
fields_are(job('half'), { missed_runs => 13 }, '... and the runs that it missed before stay counted');
$node->safe_psql('postgres', "SELECT wee5_cron.unschedule('half')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 8 FROM wee5_cron.job_watch'), 'a removed job is no longer watched');

# A make-up run does not overlap a call that has not been answered yet.
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('hangs', '*/30 * * * *', '/hang')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 9 FROM wee5_cron.job_watch'), 'a new job is watched');
$clock->set('2026-06-01 18:30:05');
$receiver->wait_for_requests('/hang');
$node->stop('immediate');
$clock->set('2026-06-01 19:10:00');
$clock->start($node);
$receiver->wait_for_requests('/hang', 2);
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM wee5_cron.invocation WHERE job_name = 'hangs'"), 'a run that was missed while a call of its path hung gets a row');
fields_are($node->one_row('postgres', q{SELECT status, reason, requested_at > scheduled_at AS later, scheduled_at AT TIME ZONE 'UTC' AS tick FROM wee5_cron.invocation WHERE job_name = 'hangs' ORDER BY id DESC LIMIT 1}),
    { status => 'skipped', reason => 'overlap', tick => '2026-06-01T19:00:00' }, '... that says skipped because of overlap');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
is(scalar(my @hung = $receiver->requests('/hang')), 2, '... and no request is sent for it');

# A clock that was weeks ahead and is set back: the worker judges again what is due from then on.
$node->stop;
$clock->set('2026-07-20 12:10:00');
$clock->start($node);
judged_until('2026-07-20 12:00:00');
$node->stop;
$clock->set('2026-06-02 09:10:00');
$clock->start($node);
ok($node->poll_query_until('postgres', "SELECT bool_and(judged_until <= '2026-06-02 09:10+00') FROM wee5_cron.job_watch"), 'after the clock was set back the jobs are judged up to the present again');
my $missed = job('not again')->{missed_runs};
$node->stop;
$clock->set('2026-06-02 10:10:00');
$clock->start($node);
judged_until('2026-06-02 10:00:00');
fields_are(job('not again'), { missed_runs => $missed + 2 }, '... and runs missed from then on are counted');

# With many jobs, the worker looks at some of them at a time, and at all of them in the end.
$node->safe_psql('postgres', "SELECT cron.schedule('many ' || n, '*/30 * * * *', format('SELECT invoke_cron_endpoint(%L)', '/many/' || n)) FROM generate_series(1, 90) n");
ok($node->poll_query_until('postgres', "SELECT count(*) = 90 FROM wee5_cron.job_watch WHERE job_name LIKE 'many %'"), 'all of many jobs are watched');
$node->stop;
$clock->set('2026-06-02 11:10:00');
$clock->start($node);
judged_until('2026-06-02 11:00:00');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.job_watch WHERE job_name LIKE 'many %' AND missed_runs = 2"), 90, 'each of many jobs has missed two runs');
ok($node->poll_query_until('postgres', "SELECT count(*) = 90 FROM wee5_cron.invocation WHERE job_name LIKE 'many %' AND status = 'succeeded'"), '... and has made up for the newest one');

# Each look reads only what is new, however long pg_cron's history and the ledger are.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO cron.job_run_details (runid, jobid, status, start_time, end_time)
SELECT -n, jobid, 'succeeded', now() - n * interval '1 minute', now() - n * interval '1 minute'
FROM generate_series(1, 5000) n, cron.job WHERE jobname = 'not again';
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, requested_at, finished_at)
SELECT 'not again', '/again', 'builtin', 'succeeded', now() - n * interval '1 minute', now() FROM generate_series(5000, 1, -1) n;
ANALYZE cron.job_run_details, wee5_cron.invocation;
SQL
my $rows_read = q{SELECT string_agg(coalesce(idx_tup_fetch, 0) + seq_tup_read || '', ' ' ORDER BY relname) FROM pg_stat_xact_user_tables
    WHERE relid IN ('cron.job_run_details'::regclass, 'wee5_cron.invocation'::regclass)};
my ($runs_read, $calls_read) = split / /, (split /\n/, $node->safe_psql('postgres', "BEGIN; SELECT wee5_cron.watch_jobs(); $rows_read; COMMIT"))[-1];
cmp_ok($runs_read,  '<', 300, 'a look reads few rows of a long pg_cron history');
cmp_ok($calls_read, '<', 300, '... and of a long ledger');
$node->log_is_sane;
done_testing();
