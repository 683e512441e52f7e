# cron.log_run = off: pg_cron keeps no history, so a run is known only by its call. That causes no false alert, even for jobs
# whose calls carry no name. On a clock that the test moves.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::StillClock;

my $receiver = Wee5Cron::Receiver->start(secret => 'secret of the quiet runs');
my $node     = Wee5Cron::Node->new_configured('main', conf => "cron.timezone = 'GMT'\ncron.log_run = off");
my $clock    = Wee5Cron::StillClock->new('2026-06-01 10:05:00');
$clock->start($node);
$node->install('postgres', api_url => $receiver->url, secret => 'secret of the quiet runs');
$node->safe_psql('postgres', <<'SQL');
SELECT cron.schedule('*/30 * * * *', $$SELECT invoke_cron_endpoint('/unnamed')$$),
       cron.schedule('twin-1', '*/30 * * * *', $$SELECT invoke_cron_endpoint('/twins')$$),
       cron.schedule('twin-2', '*/30 * * * *', $$SELECT invoke_cron_endpoint('/twins')$$),
       cron.schedule('named', '*/30 * * * *', $$SELECT "public".Invoke_Cron_Endpoint($p$/named$p$)$$),
       cron.schedule('at times', '*/30 * * * *', $$SELECT invoke_cron_endpoint('/at/times') WHERE false$$);
-- Two calls of a path at the same time are meant here.
INSERT INTO wee5_cron.endpoint (endpoint_path, overlap) VALUES ('/twins', 'allow');
SQL
ok($node->poll_query_until('postgres', 'SELECT count(*) = 5 FROM wee5_cron.job_watch'), 'all five jobs are watched');

sub judged_until {
    my ($time) = @_;
    $node->call('postgres', '/wake');
    return $node->poll_query_until('postgres', "SELECT min(judged_until) >= '$time+00' FROM wee5_cron.job_watch");
}

sub states {
    return $node->safe_psql('postgres',
        "SELECT string_agg(concat_ws(' ', coalesce(job_name, endpoint_path) || ':', state, missed_runs), ', ' ORDER BY coalesce(job_name, endpoint_path)) FROM wee5_cron.job_status");
}

$clock->set('2026-06-01 10:30:05');
$receiver->wait_for_requests('/unnamed');
$receiver->wait_for_requests('/named');
$receiver->wait_for_requests('/twins', 2);
$node->wait_until_all_finished('postgres');
$clock->set('2026-06-01 10:34:00');
judged_until('2026-06-01 10:30:00');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job_run_details'), 0, 'pg_cron logs no run');
is(states(), '/unnamed: ok 0, at times: never_ran 0, named: ok 0, twin-1: ok 0, twin-2: ok 0', 'a job that has called is ok, and none has missed a run');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.trouble'), 0, '... and no trouble is recorded');
my %headers = map { $_ => ($receiver->requests($_))[0]{headers} } qw(/unnamed /named /twins);
fields_are($headers{'/named'}, { 'x-wee5-cron-job' => 'named', 'x-vercel-cron-schedule' => '*/30 * * * *' }, "a call carries its job's name and schedule");
is(join(' | ', map { $headers{'/unnamed'}{$_} // 'none' } qw(x-wee5-cron-job x-vercel-cron-schedule)), 'none | */30 * * * *', '... or only the schedule if the job has no name');
is(join(' | ', map { $headers{'/twins'}{$_} // 'none' } qw(x-wee5-cron-job x-vercel-cron-schedule)), 'none | none', '... or neither if two jobs have the same command');

# The server is down for a tick. It counts as missed for each job whose runs can be recognized. For a job with a name, a call
# makes up for it, and the job is ok again.
$node->stop;
$clock->set('2026-06-01 11:10:00');
$clock->start($node);
judged_until('2026-06-01 11:00:00');
like(states(), qr{^/unnamed: late 1, at times: never_ran 0, named: (?:late|ok) 1, twin-1: (?:late|ok) 1, twin-2: (?:late|ok) 1$}, "a missed run is found without pg_cron's history");
is($node->safe_psql('postgres', q{SELECT count(*) FROM wee5_cron.trouble WHERE kind = 'late' AND name LIKE '#%'}), 1, '... and a job without a name is reported by its jobid');

# The trouble of a job is deleted with the job.
$node->safe_psql('postgres', 'SELECT cron.unschedule(jobid) FROM cron.job');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.trouble'), 'the trouble of a job is deleted with the job');
$node->log_is_sane;
done_testing();
