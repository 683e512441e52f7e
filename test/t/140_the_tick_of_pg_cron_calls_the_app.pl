# A tick of pg_cron, awaited once, on two servers at the same time. pg_cron runs jobs in background workers on one, and
# connects as a client, the default, on the other.
use strict;
use warnings;

# A tick is up to a minute away.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 130 }

use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $app      = Wee5Cron::App->start(secret => "the app's secret");
my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');

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

# Job, role (undef: the superuser), path. A role with settings of its own calls the app.
my @jobs = (
    [ via_app     => undef,      q{/api/cron/poll-activities} ],
    [ via_web     => 'web',      q{/api/cron/poll-activities} ],
    [ answers_500 => 'web500',   q{/status/500} ],
    [ bad_path    => undef,      q{no-slash} ],
    [ denied      => 'denied',   q{/denied} ],
    [ unset       => 'unset',    q{/unset} ],
    [ twin_1      => undef,      q{/twin} ],
    [ twin_2      => undef,      q{/twin} ],
);

for my $mode (keys %node) {
    my $node = $node{$mode};
    my ($url, $secret) = ($receiver->url, 'the secret');
    my $superuser = $node->safe_psql('postgres', 'SELECT quote_ident(current_user)');
    $node->install('postgres');
    $node->safe_psql('postgres', <<SQL);
CREATE ROLE web LOGIN; CREATE ROLE web500 LOGIN; CREATE ROLE denied LOGIN; CREATE ROLE unset LOGIN;
SELECT wee5_cron.grant_to(r, 'call') FROM unnest('{web,web500,unset}'::regrole[]) r;
GRANT USAGE ON SCHEMA cron TO web, web500, denied, unset;
ALTER ROLE $superuser SET app.settings.api_url = '$url'; ALTER ROLE $superuser SET app.settings.cron_secret = '$secret';
ALTER ROLE web500 SET app.settings.api_url = '$url'; ALTER ROLE web500 SET app.settings.cron_secret = '$secret';
ALTER ROLE denied SET app.settings.api_url = '$url'; ALTER ROLE denied SET app.settings.cron_secret = '$secret';
ALTER ROLE web SET app.settings.api_url = '@{[ $app->url ]}'; ALTER ROLE web SET app.settings.cron_secret = 'the app''s secret';
SQL
    # The twins call at the same moment.
    $node->policy('postgres', '/twin', overlap => 'allow');
    for my $job (@jobs) {
        my ($name, $role, $path) = @$job;
        my $sql = "SELECT cron.schedule('$name', '* * * * *', \$\$SELECT invoke_cron_endpoint('$path')\$\$)";
        $role ? $node->psql_as($role, 'postgres', $sql) : $node->safe_psql('postgres', $sql);
    }
    # This job is not due: it shows what job_status says before the first run, and the time zone of next_run.
    $node->safe_psql('postgres', "SELECT cron.schedule('next_year', '0 0 1 1 *', \$\$SELECT invoke_cron_endpoint('/next-year')\$\$)");
}

# Waits for the first tick and its outcome.
for my $mode (sort keys %node) {
    my $node = $node{$mode};
    $node->poll_query_until('postgres', <<'SQL') or diag("$mode: not every job has run");
SELECT (SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')) = 8
   AND (SELECT count(*) >= 5 FROM wee5_cron.invocation WHERE finished_at IS NOT NULL AND cron_run_id IS NOT NULL)
SQL
    # No job runs again while this is checked.
    $node->safe_psql('postgres', "UPDATE cron.job SET schedule = '0 0 1 1 *'");
    $node->wait_until_all_finished('postgres');
}

for my $mode (sort keys %node) {
    my $node = $node{$mode};
    my $of   = "$mode:";
    # The first run of a job, with pg_cron's record of it.
    my $run = sub {
        my ($job) = @_;
        my ($row) = $node->rows('postgres', <<SQL);
SELECT j.jobid, d.runid, d.job_pid, d.status AS cron_status, d.return_message, i.*,
       i.scheduled_at = date_trunc('minute', i.requested_at) AS at_the_minute
FROM cron.job j
JOIN cron.job_run_details d USING (jobid)
LEFT JOIN wee5_cron.invocation i ON i.cron_run_id = d.runid
WHERE j.jobname = '$job' ORDER BY d.runid LIMIT 1
SQL
        return $row // {};
    };
    my $status_of = sub { $node->one_row('postgres', "SELECT * FROM wee5_cron.job_status WHERE job_name = '$_[0]'") };

    # The reference app, with its own secret.
    my $web = $run->('via_web');
    fields_are(
        $web,
        {
            status => 'succeeded', http_status => 200, job_name => 'via_web', requested_by => 'web', endpoint_path => '/api/cron/poll-activities',
            url => $app->url . '/api/cron/poll-activities', at_the_minute => 1, cron_status => 'succeeded', reason => undef, attempts => 1,
        },
        "$a job's call reaches the app with the bearer and is bound to its run");
    is($web->{cron_run_id}, $web->{runid}, "$of ... cron_run_id is the run's id");

    # The documented queries, word for word.
    my @seen = $node->rows('postgres', 'select * from cron.job');
    is(join(' ', sort map { $_->{jobname} } @seen), join(' ', sort 'next_year', map { $_->[0] } @jobs), "$of select * from cron.job");
    @seen = $node->rows('postgres', 'select * from cron.job_run_details order by start_time desc limit 10');
    is(scalar(grep { $_->{runid} eq $web->{runid} && $_->{status} eq 'succeeded' } $node->rows('postgres', 'select * from cron.job_run_details')), 1,
        "$of select * from cron.job_run_details");
    cmp_ok(scalar(@seen), '>=', 8, "$of ... order by start_time desc limit 10");

    # The headers.
    my $row = $run->('via_app');
    fields_are($row, { status => 'succeeded', job_name => 'via_app', at_the_minute => 1, scheduled_at => qr/:00(?:[+.-]|$)/ }, "$of the row of a job's call has the job's name and its scheduled time");
    my ($request) = grep { $_->{headers}{'x-wee5-cron-invocation'} eq $row->{id} && $_->{headers}{'idempotency-key'} eq $row->{idempotency_key} }
      $receiver->requests('/api/cron/poll-activities');
    ok($request, "$of its request arrived") or next;
    fields_are($request, { method => 'GET', bearer => 'match', body => '' }, "$of a job's call is a GET with the bearer");
    my $minute = $node->safe_psql('postgres',
        "SELECT to_char('$row->{scheduled_at}'::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS')");
    fields_are(
        $request->{headers},
        {
            'x-wee5-cron-job'          => 'via_app',
            'x-wee5-cron-scheduled-at' => qr/^\Q$minute\E(?:Z|\+00:00)$/,
            'x-vercel-cron-schedule'   => '* * * * *',
            'x-wee5-cron-attempt'      => 1,
            'user-agent'               => qr{^wee5_cron/\d},
            'cache-control'            => 'no-cache',
        },
        "$of ... and it has the headers of a job");

    fields_are(
        $status_of->('via_app'),
        {
            state => 'ok', last_status => 'succeeded', last_http_status => 200, consecutive_failures => 0, last_invocation_id => qr/^\d+$/,
            schedule => '0 0 1 1 *', active => 1, endpoint_path => '/api/cron/poll-activities', last_error => undef, success_rate_24h => qr/^1(?:\.0*)?$/,
            p50_24h => qr/^\d\d:/, p95_24h => qr/^\d\d:/, last_success_at => qr/./, last_finished_at => qr/./,
        },
        "$of job_status says ok after a job's success");

    # What pg_cron regards as a success.
    $row = $run->('answers_500');
    fields_are($row, { cron_status => 'succeeded', status => 'failed', reason => 'http', http_status => 500 },
        "$of pg_cron says succeeded when the app answers 500, and the row says failed");
    fields_are($status_of->('answers_500'), { state => 'failing', last_status => 'failed', last_http_status => 500, consecutive_failures => qr/^[1-9]/, last_error => qr/500/ },
        "$of ... and job_status says failed too");

    # Calls that raised an error have no row: job_status reads them from pg_cron's history.
    my %message = (bad_path => qr/no-slash/, denied => qr/permission denied/, unset => qr/api_url/);
    for my $job (sort keys %message) {
        fields_are($run->($job), { cron_status => 'failed', return_message => $message{$job}, id => undef }, "$of $job: pg_cron records the error of a call that was refused");
        fields_are($status_of->($job), { state => 'failing', last_error => $message{$job}, consecutive_failures => qr/^[1-9]/, last_success_at => undef },
            "$of $job: job_status counts the refused call as a failure and shows its message");
    }

    # Two jobs with one command have the same name in the ledger. Their runs tell them apart.
    my @twins = map { $run->($_) } qw(twin_1 twin_2);
    fields_are($_, { status => 'succeeded', job_name => undef, cron_run_id => qr/./ }, "$of a call of two jobs with the same command has a run but no job name") for @twins;
    isnt($twins[0]{id}, $twins[1]{id}, "$of ... each run has its own row");

    fields_are($status_of->('next_year'), { state => 'never_ran', last_invocation_id => undef }, "$of job_status says never_ran for a job that was not due");
    like($node->safe_psql('postgres', "SELECT next_run AT TIME ZONE 'UTC' FROM wee5_cron.job_status WHERE job_name = 'next_year'"),
        qr/^\d{4}-01-01 00:00:00$/, "$of ... and shows its next run in pg_cron's time zone");
    is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.cron_caller'), 0, "$of cron_caller is empty once every call is bound to its run");
    $node->log_is_sane("$of the log records no crash");
}

is(scalar(grep { $_->{bearer} ne 'match' } $receiver->requests), 0, 'every request carries the bearer');
done_testing();
