# Committed calls are delivered, whatever ends the worker or the launcher.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'restart_after_crash = on');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

# Waits until the server is up again after a crash.
sub wait_until_up {
    $node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "the server did not come back\n";
    return;
}

my %ways = (
    'SIGTERM of the worker'   => sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend($_[0])") },
    'kill -9 of the worker'   => sub { kill 'KILL', $_[0] },
    'kill -9 of the launcher' => sub {
        kill 'KILL', $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'wee5_cron launcher'");
    },
    'kill -9 of a backend' => sub {
        my $session = $node->background_psql('postgres');
        kill 'KILL', $session->query_safe('SELECT pg_backend_pid()');
        eval { $session->quit };
    },
);

for my $way (sort keys %ways) {
    my $path = '/' . lc($way =~ s/\W+/-/gr);
    $receiver->hold;
    my $seen    = () = $receiver->requests('/hang');
    my $hanging = $node->block_the_wire('postgres', $receiver);
    my $queued  = $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('$path/' || n)) FROM generate_series(1, 50) n");
    my $pid     = $node->worker_pid('postgres');

    $ways{$way}->($pid);
    my @hung = $receiver->wait_for_requests('/hang', $seen + 2);
    is($hung[-1]{headers}{'idempotency-key'}, $hung[-2]{headers}{'idempotency-key'},
        "$way: the call on the wire is sent again with its Idempotency-Key");
    wait_until_up();
    isnt($node->wait_for_worker('postgres', $pid), '', '... by a new worker');
    $receiver->release_for_good;
    $node->wait_until_all_finished('postgres');
    my %arrived = map { $_->{path} => 1 } $receiver->requests(qr{^\Q$path\E/});
    is(scalar(keys %arrived), $queued, '... and every queued call is delivered');
    is_deeply([ sort keys %{ $node->statuses('postgres') } ], ['succeeded'], '... and recorded as succeeded');
    fields_are($node->finished('postgres', $node->call('postgres', '/next')), { status => 'succeeded' }, '... and the next call succeeds');
}

# The launcher ends like any background worker, and a new database still gets its worker.
my $launcher = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'wee5_cron launcher'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
$node->install('young', api_url => $receiver->url, secret => 'the secret');
fields_are($node->finished('young', $node->call('young', '/young')), { status => 'succeeded' },
    'after SIGTERM of the launcher a new database still gets a worker');
$node->poll_query_until('postgres',
    "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'wee5_cron launcher' AND pid <> $launcher");
pass('a new launcher has started');

# A cancel request ends neither the worker nor the launcher.
$receiver->hold;
my $seen = () = $receiver->requests('/hang');
my $id = $node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang', $seen + 1);
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . $node->wait_for_worker('postgres') . ')');
$receiver->release_for_good;
fields_are($node->finished('postgres', $id), { status => 'succeeded' }, 'pg_cancel_backend() of the worker loses no call');

# The worker dies in the middle of much work, three times.
my $many = 2000;
$node->set_server('wee5_cron.max_in_flight', 64);
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/slow?ms=5&n=' || n)) FROM generate_series(1, $many) n");
for my $round (1 .. 3) {
    $node->poll_query_until('postgres',
        "SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) >= 200 * $round FROM wee5_cron.invocation WHERE endpoint_path LIKE '/slow?%'");
    my $pid = $node->worker_pid('postgres');
    kill($round == 3 ? 'KILL' : 'TERM', $pid) if $pid;
    wait_until_up();
}
$node->wait_until_all_finished('postgres');
my %urls = map { $_->{url} => 1 } $receiver->requests('/slow');
is(scalar(keys %urls), $many, 'a worker that dies three times in the middle of its work loses no call');
is($node->safe_psql('postgres',
        "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/slow?%' AND status = 'succeeded'"),
    $many, '... and every result is recorded');

done_testing();
