# Runs that pg_cron missed, on the portable edition, where harvest() finds them. On a clock that the test moves, as in test 265.
# That file itself cannot run there: it waits for the worker, and gives roles an address of their own.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Hosted;
use Wee5Cron::StillClock;

# The worker of the real pg_net would wait for the clock.
$ENV{WEE5_PG_NET} = 'stand-in';
my $secret   = 'secret of the clock tower';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $clock    = Wee5Cron::StillClock->new('2026-06-01 10:05:00');
my $node     = Wee5Cron::Hosted->start_new('main', clock => $clock);
$node->install_portable;
$node->as_owner("SELECT wee5_cron.set('default_jobs', 'off'); SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
$node->remove_harvest_job;

$node->as_owner("SELECT cron.schedule('first', '0 0 1 1 *', 'SELECT invoke_cron_endpoint(''/x'')')");
$node->deliver_and_harvest;
my $watched = q{SELECT string_agg(jobname, ',' ORDER BY jobname) FROM wee5_cron.job_watch JOIN cron.job USING (jobid)};
is($node->as_owner($watched), 'first', 'harvest() begins to watch a job');
$node->as_owner("SELECT cron.unschedule('first')");
$node->deliver_and_harvest;
is($node->as_owner('SELECT count(*) FROM wee5_cron.job_watch'), 0, '... and drops one that was removed');

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE colleague LOGIN; CREATE ROLE mallory LOGIN;
GRANT USAGE ON SCHEMA cron TO colleague, mallory;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO colleague, mallory;
SQL
$node->as_owner("SELECT wee5_cron.grant_to('colleague', 'call')");
$node->as_owner(<<'SQL');
SELECT wee5_cron.schedule('half', '*/30 * * * *', '/half'), wee5_cron.schedule('not again', '*/30 * * * *', '/not-again'),
       wee5_cron.schedule('paused', '*/30 * * * *', '/paused'), wee5_cron.schedule('at one', '0 13 * * *', '/at-one'),
       wee5_cron.schedule('at two', '0 14 * * *', '/at-two'), wee5_cron.schedule('at five', '0 17 * * *', '/at-five'),
       cron.schedule('if', '*/30 * * * *', 'SELECT invoke_cron_endpoint(''/if'') WHERE now() < ''2026-06-01 11:00+00'''),
       cron.schedule('with choices', '*/30 * * * *', 'SELECT wee5_cron.invoke(''/with-choices'', ''POST'')');
UPDATE wee5_cron.job SET catch_up = 'none' WHERE job_name = 'not again';
SELECT wee5_cron.pause('paused');
SQL
$node->psql_as($_->[0], 'postgres', "SELECT cron.schedule('$_->[1]', '*/30 * * * *', 'SELECT invoke_cron_endpoint(''/$_->[1]'')')")
  for [ 'colleague', 'owned' ], [ 'mallory', 'forbidden' ];
$node->deliver_and_harvest;
is($node->as_owner('SELECT count(*) FROM wee5_cron.job_watch'), 10, 'all jobs are watched, also those of other roles');

sub job {
    my ($name) = @_;
    return $node->one_row('postgres', "SELECT * FROM wee5_cron.job_status WHERE job_name = '$name'");
}

sub requests { return scalar(() = $receiver->requests(shift)) }

# Moves the clock while the server runs: pg_cron runs the jobs of a tick, and the next harvest() records their answers.
sub tick_runs {
    my ($time, @jobs) = @_;
    my %so_far = map { $_ => $node->as_owner("SELECT count(*) FROM wee5_cron.invocation WHERE job_name = '$_'") } @jobs;
    $clock->set($time);
    for my $job (@jobs) {
        $node->poll_query_until('postgres', "SELECT count(*) > $so_far{$job} FROM wee5_cron.invocation WHERE job_name = '$job'") or die "pg_cron did not run $job\n";
    }
    return $node->deliver_and_harvest;
}

# The server is down while the clock moves on.
sub down_until {
    my ($time) = @_;
    $node->stop;
    $clock->set($time);
    $clock->start($node);
    $node->deliver_and_harvest;    # judges the ticks, and hands the make-up calls over
    return $node->deliver_and_harvest;
}

tick_runs('2026-06-01 10:30:05', 'half', 'not again', 'with choices', 'if', 'owned');
$clock->set('2026-06-01 10:34:00');
$node->deliver_and_harvest;
fields_are(job($_), { missed_runs => 0, state => 'ok' }, "a tick that pg_cron ran is not missed: $_") for 'half', 'not again', 'owned';

down_until('2026-06-01 11:40:00');
fields_are(job('half'), { missed_runs => 2, state => 'ok' }, 'ticks while the server was down are counted, and the newest one is made up for');
fields_are(($receiver->requests('/half'))[-1]{headers}, { 'x-wee5-cron-job' => 'half', 'x-wee5-cron-scheduled-at' => '2026-06-01T11:30:00Z' }, '... with the scheduled_at of that tick');
is(requests('/half'), 2, '... once');
fields_are($node->one_row('postgres', q{SELECT status, requested_by, scheduled_at AT TIME ZONE 'UTC' AS tick FROM wee5_cron.invocation WHERE job_name = 'owned' ORDER BY id DESC LIMIT 1}),
    { status => 'succeeded', requested_by => 'colleague', tick => qr/^2026-06-01[T ]11:30:00/ }, "the make-up call belongs to the job's owner");
fields_are(job('not again'), { missed_runs => 2, state => 'late' }, 'with catch_up = none missed runs are counted, and the job is late');
is(requests('/not-again'), 1, '... and none is made up for');
fields_are(job('with choices'), { missed_runs => 2, state => 'late' }, 'a job that does more than a plain call is late and not made up for');
fields_are(job('paused'), { missed_runs => 0, state => 'paused' }, 'a paused job misses no run');
fields_are(job('if'), { missed_runs => 2, state => 'late' }, 'a job that calls on a condition is late');
is(requests('/if'), 1, '... and not made up for, since the condition may no longer hold');
fields_are(job('forbidden'), { missed_runs => 2, state => 'late' }, 'missed runs of a job whose role may not call are counted');
is($node->as_owner("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/forbidden'"), 0, '... and no call is made for them under any role');
is($node->as_owner("SELECT string_agg(name, ',' ORDER BY name) FROM wee5_cron.trouble WHERE kind = 'late'"), 'forbidden,half,if,not again,owned,with choices', 'each job that is late has its trouble recorded');

tick_runs('2026-06-01 12:00:05', 'not again');
fields_are(job('not again'), { missed_runs => 2, state => 'ok' }, 'after the next run the job is no longer late');

# Down again, over the job that runs at one o'clock, for too long to make up for its run.
down_until('2026-06-01 14:20:00');
fields_are(job('half'), { missed_runs => 6 }, 'the four ticks 12:30, 13:00, 13:30 and 14:00 are missed');
fields_are(job('at one'), { missed_runs => 1 }, 'a tick while the server was down is found, however long the period');
fields_are(($receiver->requests('/at-two'))[0]{headers}, { 'x-wee5-cron-scheduled-at' => '2026-06-01T14:00:00Z' }, '... and made up for within an hour');
is(requests('/at-one'), 0, 'a run missed by more than an hour is not made up for');
fields_are(job('at five'), { missed_runs => 0 }, 'a tick to come is not missed');

# pg_cron itself skips the time in between when the clock jumps ahead by more than three hours.
tick_runs('2026-06-01 14:30:05', 'half');
$clock->set('2026-06-01 18:05:00');
$node->deliver_and_harvest;
fields_are(job('half'), { missed_runs => 13 }, 'harvest() finds ticks that pg_cron skipped');
$node->deliver_and_harvest;
is(($receiver->requests('/half'))[-1]{headers}{'x-wee5-cron-scheduled-at'}, '2026-06-01T18:00:00Z', '... and the newest one is made up for once');

# A clock that was weeks ahead and is set back.
down_until('2026-07-20 12:10:00');
down_until('2026-06-02 09:10:00');
is($node->as_owner("SELECT bool_and(judged_until <= '2026-06-02 09:10+00') FROM wee5_cron.job_watch"), 't', 'after the clock was set back the jobs are judged up to the present again');
my $missed = job('not again')->{missed_runs};
down_until('2026-06-02 10:10:00');
fields_are(job('not again'), { missed_runs => $missed + 2 }, '... and runs missed from then on are counted');

# With many jobs.
$node->as_owner("SELECT count(cron.schedule('many ' || n, '*/30 * * * *', format('SELECT invoke_cron_endpoint(%L)', '/many/' || n))) FROM generate_series(1, 90) n");
$node->deliver_and_harvest;
down_until('2026-06-02 11:10:00');
is($node->as_owner("SELECT count(*) FROM wee5_cron.job_watch WHERE job_name LIKE 'many %' AND missed_runs = 2"), 90, 'each of many jobs has missed two runs');
is($node->as_owner("SELECT count(*) FROM wee5_cron.invocation WHERE job_name LIKE 'many %' AND status = 'succeeded'"), 90, '... and has made up for the newest one');
$node->log_is_sane;
done_testing();
