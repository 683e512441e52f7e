# On pg_cron's own tick, awaited once: if a job waits for its call and the call fails, pg_cron's history shows a failed run,
# too. Jobs for a database without pg_cron reach that database's app. On two servers at the same time: pg_cron runs jobs in
# background workers on one, and connects as a client on the other.
use strict;
use warnings;

# A tick is up to a minute away.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 130 }

use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $second = 'second app';
my %receiver = map { $_ => Wee5Cron::Receiver->start(secret => "secret of $_") } 'postgres', $second;

my %node = (
    'background worker' => Wee5Cron::Node->start_new('workers'),
    'client connection' => do {
        my $node = Wee5Cron::Node->new_configured('clients', conf => <<'CONF');
cron.use_background_workers = off
cron.host = '127.0.0.1'
listen_addresses = '127.0.0.1'
CONF
        $node->append_conf('pg_hba.conf', 'host all all 127.0.0.1/32 trust');
        $node->start;
        $node;
    },
);

# Job, role (undef: the superuser), command.
my @jobs = (
    [ waits_ok      => undef,    q{CALL wee5_cron.run('/status/204')} ],
    [ waits_500     => undef,    q{CALL wee5_cron.run('/status/500');} ],
    [ waits_as_web  => 'web',    q{CALL wee5_cron.run('/status/503')} ],
    [ waits_not     => undef,    q{SELECT invoke_cron_endpoint('/status/501')} ],
    [ waits_denied  => 'denied', q{CALL wee5_cron.run('/denied')} ],
    [ waits_twice   => undef,    q{CALL wee5_cron.run('/one'); CALL wee5_cron.run('/two')} ],
);

for my $mode (sort keys %node) {
    my $node = $node{$mode};
    $node->install($_, api_url => $receiver{$_}->url, secret => "secret of $_") for 'postgres', $second;
    $node->safe_psql('postgres', <<'SQL');
CREATE ROLE web LOGIN; CREATE ROLE denied LOGIN;
SELECT wee5_cron.grant_to('web', 'call'); GRANT USAGE ON SCHEMA cron TO web, denied;
SQL
    $node->no_retries('postgres', '/status/503');
    for my $job (@jobs) {
        my ($name, $role, $command) = @$job;
        my $sql = "SELECT cron.schedule('$name', '* * * * *', \$\$$command\$\$)";
        $role ? $node->psql_as($role, 'postgres', $sql) : $node->safe_psql('postgres', $sql);
    }

    # The second database has no pg_cron. The statements that register_jobs() prints there are run in pg_cron's database.
    my $error = $node->error_of($second, 'SELECT wee5_cron.register_jobs()');
    is($error->{sqlstate}, '55000', "$mode: register_jobs() in a database without pg_cron is an error");
    is($node->error_of('postgres', $error->{hint}), undef, "... and its hint can be run in pg_cron's database as it is");
    is($node->safe_psql('postgres', "SELECT string_agg(jobname || ': ' || schedule, ', ' ORDER BY jobname) FROM cron.job WHERE database = '$second'"),
        "daily-analytics\@$second: 0 0 * * *, poll-activities\@$second: */30 * * * *, welcome-emails\@$second: 0 * * * *",
        '... and it makes the three jobs');
    # The user's own jobs.
    $node->safe_psql('postgres', <<SQL);
UPDATE cron.job SET schedule = '* * * * *' WHERE database = '$second';
SELECT cron.schedule_in_database('nightly\@$second', '* * * * *', \$\$CALL wee5_cron.run('/status/502')\$\$, '$second');
SQL
    $error = $node->error_of($second, q{SELECT wee5_cron.schedule('unnamed', '* * * * *', '/unknown-path')});
    is($node->error_of('postgres', $error->{hint}), undef, 'the hint of schedule() in a database without pg_cron can be run, too');
    like($error->{hint}, qr/INSERT INTO wee5_cron\.job .*'unnamed', '\/unknown-path'/, '... and it includes what to insert into wee5_cron.job');
    $node->safe_psql($second, "INSERT INTO wee5_cron.job (job_name, endpoint_path) VALUES ('nightly', '/status/502')");
    is($node->safe_psql($second, 'SELECT string_agg(job_name, $$ $$) FROM wee5_cron.job_status'), 'nightly', 'before the tick job_status knows only the job in wee5_cron.job');
}

for my $mode (sort keys %node) {
    my $node = $node{$mode};
    $node->poll_query_until('postgres', <<SQL) or diag("$mode: not every job has run");
SELECT (SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')) = (SELECT count(*) FROM cron.job)
   AND (SELECT count(*) >= 4 FROM wee5_cron.invocation WHERE finished_at IS NOT NULL AND cron_run_id IS NOT NULL)
SQL
    # No job runs again while this is checked.
    $node->safe_psql('postgres', "UPDATE cron.job SET schedule = '0 0 1 1 *'");
    $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM cron.job_run_details WHERE status NOT IN ('succeeded', 'failed')");
    $node->wait_until_all_finished($_) for 'postgres', $second;
    $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.cron_caller');
}

for my $mode (sort keys %node) {
    my $node = $node{$mode};
    my $of   = "$mode:";
    # The first run of a job, with pg_cron's record of it.
    my $run = sub {
        my ($job) = @_;
        my ($row) = $node->rows('postgres', <<SQL);
SELECT d.runid, d.status AS cron_status, d.return_message, i.*, i.scheduled_at = date_trunc('minute', i.requested_at) AS at_the_minute
FROM cron.job j
JOIN cron.job_run_details d USING (jobid)
LEFT JOIN wee5_cron.invocation i ON i.cron_run_id = d.runid
WHERE j.jobname = '$job' ORDER BY d.runid LIMIT 1
SQL
        return $row // {};
    };
    my $status_of = sub { $node->one_row($_[0], "SELECT * FROM wee5_cron.job_status WHERE job_name = '$_[1]'") };
    # A second tick may have come before the schedules were changed.
    my $failed = sub { $node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE job_name = '$_[0]' AND status = 'failed'") };

    fields_are($run->('waits_ok'), { cron_status => 'succeeded', status => 'succeeded', http_status => 204, job_name => 'waits_ok', at_the_minute => 1 },
        "$of a run of CALL wee5_cron.run() whose app answers 2xx is a success for pg_cron, too");
    for my $case ([ waits_500 => 500 ], [ waits_as_web => 503 ]) {
        my ($job, $code) = @$case;
        my $row = $run->($job);
        fields_are(
            $row,
            {
                cron_status => 'failed', return_message => qr{call $row->{id} of /status/$code failed: The app answered $code}, status => 'failed', reason => 'http',
                http_status => $code, job_name => $job, at_the_minute => 1, endpoint_path => "/status/$code", requested_by => qr/./,
            },
            "$of $job: pg_cron records the run as failed with the app's answer $code, and the row is bound to it");
        fields_are($status_of->('postgres', $job),
            { state => 'failing', consecutive_failures => $failed->($job), last_status => 'failed', last_http_status => $code, last_error => qr/answered $code/, endpoint_path => "/status/$code" },
            '... and job_status counts call and run once');
    }
    is($run->('waits_as_web')->{requested_by}, 'web', "$of CALL wee5_cron.run() works for a role with the profile call");
    fields_are($run->('waits_not'), { cron_status => 'succeeded', status => 'failed', http_status => 501 }, "$of the run of a job that does not wait is a success for pg_cron, whatever the app answers");
    fields_are($run->('waits_denied'), { cron_status => 'failed', return_message => qr/permission denied for/, id => undef }, "$of pg_cron records the run of a role without a grant as failed");
    fields_are($run->('waits_twice'), { cron_status => 'failed', return_message => qr/cannot run in a transaction block/, id => undef },
        "$of two CALLs in one command are refused, and pg_cron records why");

    # The second database.
    my %expected = ('poll-activities' => '/api/cron/poll-activities', 'welcome-emails' => '/api/cron/welcome-emails', 'daily-analytics' => '/api/analytics/cron');
    for my $job (sort keys %expected) {
        fields_are($status_of->($second, $job), { endpoint_path => $expected{$job}, jobid => undef, last_status => 'succeeded', last_http_status => 200, state => 'ok', consecutive_failures => 0 },
            "$of job_status of the second database finds $job in the ledger");
    }
    my $row = $node->one_row($second, "SELECT * FROM wee5_cron.invocation WHERE job_name = 'poll-activities' ORDER BY id LIMIT 1");
    fields_are($row, { url => $receiver{$second}->url . '/api/cron/poll-activities', cron_run_id => undef }, "$of the call of that job goes to the second database's app");
    my ($request) = grep { $_->{headers}{'idempotency-key'} eq $row->{idempotency_key} } $receiver{$second}->requests('/api/cron/poll-activities');
    fields_are($request, { bearer => 'match', method => 'GET' }, "$of ... with its own secret") or next;
    is($request->{headers}{'x-wee5-cron-job'}, 'poll-activities', "$of ... with the job's name in its header");
    fields_are($status_of->($second, 'nightly'), { endpoint_path => '/status/502', last_http_status => 502, state => 'failing' }, "$of job_status of the second database knows a job by its row in wee5_cron.job");
    my $message = $node->safe_psql('postgres', "SELECT d.status || ' ' || d.return_message FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE j.jobname = 'nightly\@$second' ORDER BY runid LIMIT 1");
    like($message, qr{^failed .*call \d+ of /status/502 failed: The app answered 502}s, "$of ... whose run pg_cron records as failed, too");
    is($node->safe_psql($second, "SELECT string_agg(DISTINCT coalesce(job_name, 'NULL'), ' ') FROM wee5_cron.invocation WHERE endpoint_path = '/unknown-path'"),
        'NULL', "$of a job that has no row in wee5_cron.job makes its call without a job name");
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.job_status WHERE job_name LIKE '%$second'"), 0, "$of job_status of pg_cron's database lists only its own jobs");
    $node->log_is_sane("$of the log records no crash");
}

for my $database (sort keys %receiver) {
    is(scalar(grep { $_->{bearer} ne 'match' } $receiver{$database}->requests), 0, "every request to the app of $database carries that database's secret");
}
is(scalar(my @astray = $receiver{postgres}->requests(qr{^/api})), 0, 'no call of the second database went to the first app');
is(scalar(my @none = map { $_->requests(qr{^/(one|two|denied)$}) } values %receiver), 0, 'no request was sent for the runs that were refused');
done_testing();
