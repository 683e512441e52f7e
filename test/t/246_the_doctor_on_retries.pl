# doctor() on calls that have failed and are being retried: it reports them from the first failure on, as long as the
# retries last, with the row's error and hint, on both transports; and no longer.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Test fixtures => ['pg_net'];
use Time::HiRes qw(time);

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret of the doctor');
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret of the doctor');
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
$doctor->green('retrying', 'no failed call', qr/^no call is being retried$/);

# A newcomer with a wrong port runs doctor() at once.
$receiver->close_port;
$node->policy('postgres', '/x', retry_delays => '{1 h}', retry_window => '10 h');
my $id = $node->call('postgres', '/x');
my $began = time;
until (grep { $_->{status} ne 'ok' } $doctor->lines('retrying')) {
    die 'doctor() does not see it' if time - $began > $PostgreSQL::Test::Utils::timeout_default;
}
my $row  = $node->invocation('postgres', $id);
my $hint = $doctor->red('retrying', 'warning', qr{^call $id of /x failed at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d and is retried at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: No connection to }, 'a refused connection, while it is retried');
is(($doctor->lines('retrying'))[0]{detail} =~ s/^.*?\d: //r, $row->{error}, "a call being retried: the detail has the row's error");
is($hint, "-- $row->{hint}", "... and the hint is the row's hint");
$doctor->paste($hint, '... and the hint runs as SQL');
is($node->safe_psql('postgres', "SELECT extract(epoch FROM a.finished_at - i.requested_at) < 60 FROM wee5_cron.invocation i JOIN wee5_cron.attempt a ON a.invocation_id = i.id WHERE i.id = $id"), 't', '... long before the retries end');
my @also = map { $node->call('postgres', '/x') } 1 .. 2;
$node->invocation_when('postgres', $also[1], "status = 'retrying'");
$doctor->red('retrying', 'warning', qr{^call $also[1] of /x failed .*\(and 2 more of this path\): No connection to }, 'several calls of one path');

# A retry is on the wire, whether or not its row says so yet: the last attempt still failed.
$receiver->open_port;
$node->policy('postgres', '/hang', retry_delays => '{100 ms}', retry_on => 'transient', max_attempts => 2, timeout => '500 ms');
my $hanging = $node->call('postgres', '/hang');
$node->invocation_when('postgres', $hanging, "status = 'retrying'");
$node->finished('postgres', $hanging);
$doctor->red('last_outcome', 'error', qr{of /hang, }, 'a call whose last retry failed');
is(scalar(grep { $_->{detail} =~ m{/hang} } $doctor->lines('retrying')), 0, '... and doctor() no longer reports a retry');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, attempts, reason, error, next_attempt_at)
VALUES ('/parked', 'pg_net', 'retrying', 1, 'connect', 'parked', NULL);
SQL
$doctor->red('retrying', 'warning', qr{of /parked failed and is retried now: parked$}, 'a call whose next attempt has begun');
$node->safe_psql('postgres', "DELETE FROM wee5_cron.invocation WHERE endpoint_path = '/parked'");

# The lines disappear when the calls succeed.
for my $call ($id, @also) {
    $node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $call; SELECT wee5_cron.wake_worker()");
    is($node->finished('postgres', $call)->{status}, 'succeeded', 'the retry succeeds');
}
$doctor->green('retrying', 'after the retry succeeded');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.doctor() WHERE check_name = 'last_outcome' AND detail LIKE '%/x%'"), 0, '... and last_outcome does not report it either');

# A long queue does not hide them.
$node->set_server('wee5_cron.max_in_flight', 1);
$receiver->hold;
my $blocks = $node->call('postgres', '/hang');
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/a')) FROM generate_series(1, 20000)");
$receiver->close_port;
my $next = $node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, attempts, reason, error, next_attempt_at) VALUES ('/z', 'builtin', 'retrying', 1, 'connect', 'refused', now() + '1 h') RETURNING id");
$doctor->red('retrying', 'warning', qr{^call $next of /z }, 'a retry behind a long queue');

# On pg_net. The fixture takes its place, and the test inserts the answers by hand.
$node->install('net', api_url => $receiver->url, secret => 'the secret of the doctor');
$node->safe_psql('net', "CREATE EXTENSION pg_net VERSION 'wee5fixture'; ALTER DATABASE net SET wee5_cron.transport = 'pg_net'");
my $on_pg_net = Wee5Cron::Doctor->new($node, 'net');
my $answer = sub {
    my ($call, $columns, $values) = @_;
    my $from = "FROM net.http_request_queue q JOIN wee5_cron.pg_net_request r ON r.request_id = q.id WHERE r.invocation_id = $call";
    $node->poll_query_until('net', "SELECT count(*) = 1 $from") or die;
    my $request = $node->safe_psql('net', "SELECT q.id $from");
    $node->safe_psql('net', "BEGIN; INSERT INTO net._http_response (id, $columns) VALUES ($request, $values); DELETE FROM net.http_request_queue WHERE id = $request; COMMIT");
};
$node->policy('net', '/x', retry_delays => '{100 ms}', max_attempts => 3);
my $call = $node->call('net', '/x');
$on_pg_net->green('retrying', 'on pg_net, a call without an answer');
$answer->($call, 'error_msg', q{'Couldn''t connect to server'});
$node->invocation_when('net', $call, "status = 'retrying'");
$on_pg_net->red('retrying', 'warning', qr{^call $call of /x failed .*: No connection to }, 'on pg_net, a refused connection');
$node->poll_query_until('net', "SELECT next_attempt_at IS NULL FROM wee5_cron.invocation WHERE id = $call");
$on_pg_net->red('retrying', 'warning', qr{^call $call of /x failed .* and is retried now: No connection to }, 'on pg_net, a retry that pg_net already has');
$answer->($call, 'status_code', 200);
is($node->finished('net', $call)->{status}, 'succeeded', 'on pg_net the retry succeeds');
$on_pg_net->green('retrying', 'on pg_net, after the retry succeeded');

$receiver->open_port;
$receiver->release_for_good;
$node->log_is_sane;
done_testing();
