# Requests need open files. A worker raises its own limit as far as the system allows. If that is not enough, it keeps fewer
# requests in flight and says so. No call fails because of it.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

plan skip_all => 'no prlimit or no /proc here' if system('prlimit --version >/dev/null 2>&1') != 0 || !-r '/proc/self/limits';

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Node->new_configured('main');

# Starts the server with these limits of open files.
my $limited = PostgreSQL::Test::Utils::tempdir();
append_to_file("$limited/pg_ctl", qq{#!/bin/sh\nPATH=\${PATH#*:} exec prlimit --nofile="\$LIMITS" pg_ctl "\$@"\n});
chmod 0755, "$limited/pg_ctl";

sub start_with_open_files {
    my ($soft, $hard) = @_;
    local $ENV{LIMITS} = "$soft:$hard";
    local $ENV{PATH}   = "$limited:$ENV{PATH}";
    $node->start;
    return;
}

sub doctor_line { return $node->one_row('postgres', "SELECT * FROM wee5_cron.doctor() WHERE check_name = 'worker'") }
sub worker      { return $node->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'postgres'") }

# Many calls, which the app answers all at once when the test tells it to.
sub calls_succeed {
    my ($path, $count, $in_flight) = @_;
    $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('$path')) FROM generate_series(1, $count)");
    ok($node->poll_query_until('postgres', "SELECT in_flight = $in_flight FROM wee5_cron.worker WHERE datname = 'postgres'"),
        "$in_flight of $count requests are in flight at once");
    $receiver->wait_for_requests($path, $in_flight);
    $receiver->release_for_good;
    $node->wait_until_all_finished('postgres');
    $receiver->hold;
    is($node->safe_psql('postgres', "SELECT DISTINCT status, attempts FROM wee5_cron.invocation WHERE endpoint_path = '$path'"),
        'succeeded|1', '... and every call succeeds at its first attempt');
    return;
}

# The soft limit alone is low: the worker raises it.
start_with_open_files(128, 1000);
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->set_server('wee5_cron.max_in_flight', 150);
calls_succeed('/raised/hang', 200, 150);
my $worker = worker();
like(slurp_file("/proc/$worker->{pid}/limits"), qr/^Max open files +1000 +1000 /m, 'the worker raises its soft limit of open files');
is($worker->{last_error}, undef, '... and has no error');
is(doctor_line()->{status}, 'ok', '... and doctor() reports the limit as ok');

# The hard limit is low, too.
$node->stop;
my $log = -s $node->logfile;
start_with_open_files(128, 128);
ok($node->poll_query_until('postgres', "SELECT last_error IS NOT NULL FROM wee5_cron.worker WHERE datname = 'postgres'"),
    'a worker whose hard limit is too low reports an error');
$worker = worker();
like($worker->{last_error}, qr/^wee5_cron\.max_in_flight is 150, but only \d+ requests fit into the limit of 128 open files; 150 need a limit of \d+$/,
    '... that names max_in_flight and the limit it needs');
my ($room, $wanted) = $worker->{last_error} =~ /only (\d+) .* limit of (\d+)$/;
cmp_ok($room, '>', 0, '... and some requests still fit');
fields_are(doctor_line(), { status => 'warning', detail => qr/\Q$worker->{last_error}\E/, hint => qr/LimitNOFILE=/ }, '... and doctor() warns with that error');
calls_succeed('/few/hang', 200, $room);
my @said = slurp_file($node->logfile, $log) =~ /(LOG: +wee5_cron worker: .*only $room requests fit)/g;
is(scalar @said, 1, '... and the log has it once');
unlike(slurp_file($node->logfile, $log), qr/too many open files|out of file descriptors/i, 'no call failed for lack of a descriptor');

# A setting that fits into the limit causes no message.
$node->set_server('wee5_cron.max_in_flight', $room);
ok($node->poll_query_until('postgres', "SELECT last_error IS NULL FROM wee5_cron.worker WHERE datname = 'postgres'"),
    'a max_in_flight that fits the limit ends the error');
is(doctor_line()->{status}, 'ok', '... and doctor() reports the limit as ok');

# The limit named in the message is enough.
$node->stop;
SKIP: {
    skip "this machine does not allow $wanted open files", 3 if system("prlimit --nofile=$wanted:$wanted true 2>/dev/null") != 0;
    start_with_open_files($wanted, $wanted);
    $node->set_server('wee5_cron.max_in_flight', 150);
    is(worker()->{last_error}, undef, 'under the limit that the error named the worker has no error');
    calls_succeed('/enough/hang', 160, 150);
}
done_testing();
