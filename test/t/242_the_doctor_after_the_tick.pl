# doctor() on runs that pg_cron recorded as failed, on its own tick, in both of its modes: what it says about them, and that
# its hints, run as they stand, make the next tick succeed. Two ticks are awaited.
use strict;
use warnings;

# A tick is up to a minute away.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 130 }

use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Test;

my $secret   = 'canary-of-the-doctor-1618';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);

my %node = (
    'background worker' => Wee5Cron::Node->start_new('workers'),
    # Over TCP it is asked for a password that it does not have, as on Debian.
    'client connection' => do {
        my $node = Wee5Cron::Node->new_configured('clients', conf => <<'CONF');
cron.use_background_workers = off
cron.host = '127.0.0.1'
listen_addresses = '127.0.0.1'
CONF
        PostgreSQL::Test::Utils::append_to_file($node->data_dir . '/pg_hba.conf.new', "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
        rename $node->data_dir . '/pg_hba.conf.new', $node->data_dir . '/pg_hba.conf' or die "pg_hba.conf: $!";
        $node->start;
        $node;
    },
);
my %doctor = map { $_ => Wee5Cron::Doctor->new($node{$_}, 'postgres') } keys %node;

# Job, role (undef: the superuser), command; what doctor() says, and whether its hint alone is enough.
my %jobs = (
    denied  => [ 'denied', q{SELECT ext.invoke_cron_endpoint('/denied')}, qr/permission denied for schema ext/ ],
    missing => [ undef,    q{SELECT invoke_cron_endpoint('/missing')},    qr/function invoke_cron_endpoint\(unknown\) does not exist/ ],
    waits   => [ undef,    q{CALL wee5_cron.run('/status/500')},          qr{call \d+ of /status/500 failed: The app answered 500} ],
);
for my $mode (sort keys %node) {
    my $node = $node{$mode};
    $node->safe_psql('postgres', 'CREATE SCHEMA ext');
    $node->install('postgres', api_url => $receiver->url, secret => $secret, schema => 'ext');
    $node->safe_psql('postgres', 'CREATE ROLE denied LOGIN; GRANT USAGE ON SCHEMA cron TO denied');
    for my $name (sort keys %jobs) {
        my ($role, $command) = @{ $jobs{$name} };
        my $sql = "SELECT cron.schedule('$name', '* * * * *', \$\$$command\$\$)";
        $role ? $node->psql_as($role, 'postgres', $sql) : $node->safe_psql('postgres', $sql);
    }
    next unless $mode eq 'client connection';
    $node->safe_psql('postgres', "UPDATE cron.job SET nodename = ''");
    $node->safe_psql('postgres', q{SELECT cron.schedule('refused', '* * * * *', $$SELECT ext.invoke_cron_endpoint('/refused')$$)});
}

sub await_runs {
    my ($node, $after) = @_;
    $node->poll_query_until('postgres', <<SQL) or diag('not every job has run');
SELECT (SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE runid > $after AND status IN ('succeeded', 'failed')) = (SELECT count(*) FROM cron.job)
SQL
    return $node->safe_psql('postgres', 'SELECT max(runid) FROM cron.job_run_details');
}

my %hints;
my %newest;
for my $mode (sort keys %node) {
    my ($node, $doctor) = ($node{$mode}, $doctor{$mode});
    await_runs($node, 0);
    $hints{$mode}{$_} = $doctor->red('job_last_run', 'error', qr/job "$_".*as failed: (ERROR: +)?$jobs{$_}[2]/s, "$mode: $_") for sort keys %jobs;
    is($hints{$mode}{denied}, "SELECT wee5_cron.grant_to('denied', 'call');", '... and the hint for denied grants the call');
    like($hints{$mode}{missing}, qr/^SELECT cron\.alter_job\(\d+, command => 'SELECT ext\.invoke_cron_endpoint\(''\/missing''\)'\);$/, '... and the hint for missing names the schema');
    is($hints{$mode}{waits}, '-- See the line last_outcome.', '... and the hint for waits points to last_outcome');
    $doctor->red('last_outcome', 'error', qr{/status/500.*The app answered 500}, "$mode: the call of waits");
    if ($mode eq 'client connection') {
        $hints{$mode}{refused} = $doctor->red('job_last_run', 'error', qr/job "refused".* as failed: connection failed/, "$mode: a client connection without a password");
        like($hints{$mode}{refused}, qr/^ALTER SYSTEM SET cron\.use_background_workers = on;\n.*^UPDATE cron\.job SET nodename = '' WHERE jobid = \d+;\z/ms, '... and the hint has both remedies');
    }
    $doctor->paste($hints{$mode}{$_}, "$mode: the hint for $_ runs as SQL") for sort keys %{ $hints{$mode} };
    # The app's route is repaired.
    $node->safe_psql('postgres', q{SELECT cron.alter_job(jobid, command => $$CALL wee5_cron.run('/status/200')$$) FROM cron.job WHERE jobname = 'waits'});
    # A run that has already begun does not have the new settings, so the next one counts.
    $newest{$mode} = $node->safe_psql('postgres', 'SELECT max(runid) FROM cron.job_run_details');
}
for my $mode (sort keys %node) {
    my ($node, $doctor) = ($node{$mode}, $doctor{$mode});
    await_runs($node, $newest{$mode});
    $doctor->green('job_last_run', "$mode: with the hints the next tick succeeds", qr/^jobs whose last run succeeded: \d$/);
    $node->wait_until_all_finished('postgres');
    $doctor->green('last_outcome', "$mode: with the hints the next call succeeds");
    $node->log_is_sane("$mode: the log records no crash");
}
done_testing();
