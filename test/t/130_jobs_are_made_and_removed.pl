# Which jobs are created and removed: CREATE EXTENSION, register_jobs(), unregister_jobs(), DROP EXTENSION; run_now().
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main');
$node->configure('postgres', api_url => $receiver->url, secret => 'the secret');
$node->set_server('wee5_cron.default_jobs', 'on');

sub jobs {
    return $node->safe_psql('postgres', "SELECT string_agg(coalesce(jobname, 'unnamed'), ' ' ORDER BY jobname) FROM cron.job");
}
my $ours = 'daily-analytics poll-activities welcome-emails';

# An existing job of that name stays as it is. None of these jobs is due during this test.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_cron;
SELECT cron.schedule('users-own', '0 0 1 1 *', 'SELECT 1');
SELECT cron.schedule('welcome-emails', '0 0 1 1 *', 'SELECT 2');
SQL
my (undef, undef, $notices) = $node->psql('postgres', 'CREATE EXTENSION wee5_cron');
is(jobs(), 'daily-analytics poll-activities users-own welcome-emails', 'CREATE EXTENSION makes the default jobs that do not exist yet');
like($notices, qr/welcome-emails/, '... and names the existing one in a NOTICE');
is($node->safe_psql('postgres', "SELECT schedule, command FROM cron.job WHERE jobname = 'welcome-emails'"), '0 0 1 1 *|SELECT 2', '... which stays exactly as it was');

$node->safe_psql('postgres', 'DROP EXTENSION wee5_cron');
is(jobs(), 'users-own welcome-emails', "DROP EXTENSION removes our jobs and keeps the user's");
$node->safe_psql('postgres', "SELECT cron.unschedule('welcome-emails'); CREATE EXTENSION wee5_cron");
is(jobs(), 'daily-analytics poll-activities users-own welcome-emails', 'CREATE EXTENSION after it makes all three jobs');
is($node->safe_psql('postgres', "SELECT string_agg(jobname || ' ' || schedule || ' ' || command, E'\\n' ORDER BY jobname) FROM cron.job WHERE jobname <> 'users-own'"),
    <<'JOBS' =~ s/\n\z//r, '... as documented');
daily-analytics 0 0 * * * SELECT public.invoke_cron_endpoint('/api/analytics/cron')
poll-activities */30 * * * * SELECT public.invoke_cron_endpoint('/api/cron/poll-activities')
welcome-emails 0 * * * * SELECT public.invoke_cron_endpoint('/api/cron/welcome-emails')
JOBS

# A job that the user deleted stays deleted.
$node->safe_psql('postgres', "SELECT cron.unschedule('poll-activities'); SELECT wee5_cron.register_jobs()");
is(jobs(), 'daily-analytics users-own welcome-emails', 'register_jobs() does not bring back a job that the user deleted');
$node->safe_psql('postgres', 'SELECT wee5_cron.register_jobs(force => true)');
is(jobs(), "daily-analytics poll-activities users-own welcome-emails", 'register_jobs() with force brings it back');
$node->safe_psql('postgres', 'SELECT wee5_cron.unregister_jobs()');
is(jobs(), 'users-own', 'unregister_jobs() removes our jobs and no others');
$node->safe_psql('postgres', 'SELECT wee5_cron.register_jobs(true)');
is(jobs(), "daily-analytics poll-activities users-own welcome-emails", '... and register_jobs() can make them again');

# A job that the user created under the name of one of ours belongs to the user.
$node->safe_psql('postgres', "SELECT cron.unschedule('welcome-emails'); SELECT cron.schedule('welcome-emails', '0 0 1 1 *', 'SELECT 3')");
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION wee5_cron; ROLLBACK');
is(jobs(), "daily-analytics poll-activities users-own welcome-emails", 'a DROP EXTENSION that is rolled back removes no job');

# run_now.
my $id = $node->safe_psql('postgres', "SELECT wee5_cron.run_now('poll-activities')");
my $row = $node->finished('postgres', $id);
fields_are($row, { status => 'succeeded', job_name => 'poll-activities', endpoint_path => '/api/cron/poll-activities', cron_run_id => undef },
    "run_now() makes the call of a job, under the job's name");
my ($request) = $receiver->requests('/api/cron/poll-activities');
fields_are($request->{headers},
    { 'x-wee5-cron-job' => 'poll-activities', 'x-vercel-cron-schedule' => '*/30 * * * *', 'x-wee5-cron-scheduled-at' => qr/^20\d\d-.*Z$/ },
    "... and sends the job's name and schedule, as the job itself would");
is($node->safe_psql('postgres', "SELECT scheduled_at = requested_at FROM wee5_cron.invocation WHERE id = $id"), 't', '... and the call is scheduled for now');
fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.job_status WHERE job_name = 'poll-activities'"),
    { last_invocation_id => $id, last_status => 'succeeded', last_http_status => 200, consecutive_failures => 0, state => 'ok', active => 1,
        endpoint_path => '/api/cron/poll-activities', schedule => '*/30 * * * *', last_error => undef, last_success_at => qr/./, next_run => qr/:[03]0:00/ },
    '... and job_status shows it as the last call');
fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.job_status WHERE job_name = 'daily-analytics'"),
    { last_invocation_id => undef, last_status => undef, consecutive_failures => 0, state => 'never_ran' }, 'job_status says never_ran for a job that never ran');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.job_status WHERE job_name IN ('users-own', 'welcome-emails')"), 0,
    'job_status leaves out jobs that make no calls');
my $missing = $node->error_of('postgres', "SELECT wee5_cron.run_now('no-such-job')");
ok($missing && $missing->{message} =~ /no-such-job/, 'run_now() of an unknown job is an error that names it');

$node->no_retries('postgres', '/api/cron/poll-activities');
$receiver->close_port;
$node->finished('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.run_now('poll-activities')")) for 1 .. 2;
fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.job_status WHERE job_name = 'poll-activities'"),
    { last_status => 'failed', last_http_status => undef, consecutive_failures => 2, state => 'failing', last_error => qr/\w/, success_rate_24h => qr/^0?\.33/ },
    'job_status counts consecutive failures');
$receiver->open_port;
$node->safe_psql('postgres', "SELECT cron.alter_job((SELECT jobid FROM cron.job WHERE jobname = 'daily-analytics'), active => false)");
is($node->safe_psql('postgres', "SELECT state FROM wee5_cron.job_status WHERE job_name = 'daily-analytics'"), 'paused', 'job_status says paused for an inactive job');

# pg_cron may be dropped and created again.
is($node->error_of('postgres', 'DROP EXTENSION pg_cron'), undef, 'pg_cron can be dropped without CASCADE while wee5_cron is installed');
is($node->finished('postgres', $node->call('postgres', '/without-pg-cron'))->{status}, 'succeeded', 'calls are still made without pg_cron');
$node->raises('postgres', 'SELECT wee5_cron.register_jobs()', '55000', 'register_jobs() without pg_cron is an error', hint => qr/pg_cron|schedule_in_database/);
my $way_back = $node->safe_psql('postgres', "SELECT hint FROM wee5_cron.doctor() WHERE check_name = 'pg_cron_created'");
$node->safe_psql('postgres', $way_back);
is($node->safe_psql('postgres', "SELECT string_agg(jobname, ' ' ORDER BY jobname) FROM cron.job"), 'daily-analytics poll-activities welcome-emails', 'the hint of doctor() creates pg_cron and the jobs again');
$node->safe_psql('postgres', 'DROP EXTENSION pg_cron');
is($node->error_of('postgres', 'DROP EXTENSION wee5_cron'), undef, 'DROP EXTENSION wee5_cron works without pg_cron');

# In a database that pg_cron does not serve.
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
(undef, undef, $notices) = $node->psql('elsewhere', 'CREATE EXTENSION wee5_cron');
is(scalar(() = $notices =~ /NOTICE:/g), 1, 'CREATE EXTENSION in a database without pg_cron says so in one NOTICE');
$node->raises('elsewhere', 'SELECT wee5_cron.register_jobs()', '55000', 'the hint of register_jobs() in a database without pg_cron names schedule_in_database()', hint => qr/schedule_in_database.*elsewhere/s);

$node->log_is_sane;
done_testing();
